/* SPDX-License-Identifier: Apache-2.0 */
#include "store/checkpoint/pin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "store/agent_lock.h"
#include "store/directory_private.h"
#include "store/checkpoint/manifest_file.h"

#define SUFFIX ".pinned"

static int pin_path(struct blx_agent_store agent, blx_timestamp checkpoint, char path[PATH_MAX],
                    struct blx_error *err)
{
    char manifest[PATH_MAX];
    int rc = blx_manifest_path(agent, checkpoint, manifest, err);
    return rc == 0 ? blx_path_format(path, PATH_MAX, err, "%s" SUFFIX, manifest) : rc;
}

int blx_pin_read(struct blx_agent_store agent, blx_timestamp checkpoint, bool *pinned,
                 struct blx_error *err)
{
    char path[PATH_MAX];
    struct stat st;
    int rc = pin_path(agent, checkpoint, path, err);
    if (rc < 0)
        return rc;
    bool found = lstat(path, &st) == 0;
    if (!found && errno != ENOENT)
        return blx_error_errno(err, -errno, "cannot read '%s'", path);
    *pinned = found;
    return 0;
}

struct pins {
    blx_timestamp *list; /* owned */
    size_t count;
};

static int add_pin(void *arg, const char *name, struct blx_error *err)
{
    struct pins *pins = arg;
    char digits[BLX_TIMESTAMP_TEXT_BYTES] = "";
    blx_timestamp timestamp;
    if (strlen(name) != BLX_TIMESTAMP_DIGITS + strlen(SUFFIX) ||
        strcmp(name + BLX_TIMESTAMP_DIGITS, SUFFIX) != 0)
        return 0;
    memcpy(digits, name, BLX_TIMESTAMP_DIGITS);
    if (blx_timestamp_parse(digits, &timestamp, NULL) < 0)
        return 0;
    if (blx_array_make_room(pins->list, pins->count) < 0)
        return blx_error_errno(err, -ENOMEM, "cannot list the pinned checkpoints");
    pins->list[pins->count++] = timestamp;
    return 0;
}

int blx_pin_list(struct blx_agent_store agent, blx_timestamp **timestamps, size_t *count,
                 struct blx_error *err)
{
    char dir[PATH_MAX];
    struct pins pins = {0};
    int rc = blx_manifest_dir(agent, dir, err);
    if (rc == 0)
        rc = blx_directory_each(dir, add_pin, &pins, err);
    if (rc < 0) {
        free(pins.list);
        return rc;
    }
    if (pins.count > 0)
        qsort(pins.list, pins.count, sizeof(pins.list[0]), blx_timestamp_compare);
    *timestamps = pins.list;
    *count = pins.count;
    return 0;
}

static int write_pin(const char *path, enum blx_pin pin, struct blx_error *err)
{
    if (pin == BLX_PIN_OFF) {
        if (blx_sys->unlink(path) != 0 && errno != ENOENT)
            return blx_error_errno(err, -errno, "cannot remove '%s'", path);
        return 0;
    }
    BLX_CLEANUP_FD int fd = blx_open(path, O_WRONLY | O_CREAT | O_NOFOLLOW, 0600, err);
    return fd < 0 ? fd : 0;
}

/* Under the chains' lock a prune either sees the pin or has removed the checkpoint. */
int blx_pin_write_locked(struct blx_agent_store agent, blx_timestamp checkpoint, enum blx_pin pin,
                         struct blx_error *err)
{
    char path[PATH_MAX], manifest[PATH_MAX];
    struct stat st;
    int rc = pin_path(agent, checkpoint, path, err);
    if (rc == 0)
        rc = blx_manifest_path(agent, checkpoint, manifest, err);
    if (rc < 0)
        return rc;
    if (lstat(manifest, &st) != 0)
        return blx_error_errno(err, -errno, "the agent '%s' has no checkpoint %llu", agent.id,
                               (unsigned long long)checkpoint);
    rc = write_pin(path, pin, err);
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
