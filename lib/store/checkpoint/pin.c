/* SPDX-License-Identifier: Apache-2.0 */
#include "store/checkpoint/pin.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "store/agent_lock.h"
#include "store/checkpoint/beside_private.h"

#define SUFFIX ".pinned"

int blx_pin_read(struct blx_agent_store agent, blx_timestamp checkpoint, bool *pinned,
                 struct blx_error *err)
{
    char path[PATH_MAX];
    struct stat st;
    int rc = blx_beside_path(agent, checkpoint, SUFFIX, path, err);
    if (rc < 0)
        return rc;
    bool found = lstat(path, &st) == 0;
    if (!found && errno != ENOENT)
        return blx_error_errno(err, -errno, "cannot read '%s'", path);
    *pinned = found;
    return 0;
}

int blx_pin_list(struct blx_agent_store agent, blx_timestamp **timestamps, size_t *count,
                 struct blx_error *err)
{
    return blx_beside_list(agent, SUFFIX, timestamps, count, err);
}

/* Under the chains' lock a prune either sees the pin or has removed the checkpoint. */
int blx_pin_write_locked(struct blx_agent_store agent, blx_timestamp checkpoint, enum blx_pin pin,
                         struct blx_error *err)
{
    char path[PATH_MAX];
    BLX_CLEANUP_FD int fd = -1;
    int rc = blx_beside_path(agent, checkpoint, SUFFIX, path, err);
    if (rc == 0)
        rc = blx_beside_check(agent, checkpoint, err);
    if (rc == 0 && pin == BLX_PIN_OFF)
        rc = blx_beside_remove(agent, checkpoint, SUFFIX, err);
    if (rc == 0 && pin == BLX_PIN_ON) {
        fd = blx_open(path, O_WRONLY | O_CREAT | O_NOFOLLOW, 0600, err);
        rc = fd < 0 ? fd : 0;
    }
    return rc == 0 ? blx_fsync_parent(path, err) : rc;
}

int blx_pin_write(struct blx_agent_store agent, blx_timestamp checkpoint, enum blx_pin pin,
                  struct blx_error *err)
{
    BLX_CLEANUP(blx_agent_lock_close) struct blx_agent_lock lock = {.fd = -1};
    int rc = blx_agent_lock_open(agent, &lock, err);
    if (rc == 0)
        rc = blx_agent_lock_share(&lock, BLX_LOCK_CHAINS, err);
    return rc == 0 ? blx_pin_write_locked(agent, checkpoint, pin, err) : rc;
}
