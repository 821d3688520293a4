/* SPDX-License-Identifier: Apache-2.0 */
#include "store/checkpoint/pin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
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
        fd = blx_open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600, err);
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

/* -ENOENT if it is not pinned; a person's pin has no reason. */
static int read_reason(struct blx_agent_store agent, blx_timestamp checkpoint,
                       char reason[BLX_PIN_REASON_BYTES], struct blx_error *err)
{
    char path[PATH_MAX];
    BLX_CLEANUP_FREE void *content = NULL;
    size_t bytes = 0;
    int rc = blx_beside_path(agent, checkpoint, SUFFIX, path, err);
    if (rc == 0)
        rc = blx_file_read(path, BLX_PIN_REASON_BYTES, &content, &bytes, err);
    if (rc < 0)
        return rc;
    blx_text_copy(reason, BLX_PIN_REASON_BYTES, content);
    reason[strcspn(reason, "\n")] = '\0';
    blx_text_clean(reason);
    return 0;
}

int blx_pin_find_automatic(struct blx_agent_store agent, blx_timestamp *checkpoint,
                           char reason[BLX_PIN_REASON_BYTES], struct blx_error *err)
{
    BLX_CLEANUP_FREE blx_timestamp *pins = NULL;
    char found[BLX_PIN_REASON_BYTES];
    size_t count = 0;
    int rc = blx_pin_list(agent, &pins, &count, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct blx_error cause = {0};
        rc = read_reason(agent, pins[i], found, &cause);
        if (rc == 0 && found[0] != '\0') {
            *checkpoint = pins[i];
            if (reason != NULL)
                blx_text_copy(reason, BLX_PIN_REASON_BYTES, found);
            return 0;
        }
        if (rc == -ENOENT) /* unpinned meanwhile */
            rc = 0;
        if (rc < 0)
            blx_error_copy(err, rc, &cause);
    }
    if (rc == 0)
        *checkpoint = 0;
    return rc;
}

int blx_pin_write_automatic(struct blx_agent_store agent, blx_timestamp checkpoint,
                            const char *reason, enum blx_pin_result *result, struct blx_error *err)
{
    char path[PATH_MAX], line[BLX_PIN_REASON_BYTES];
    blx_timestamp standing = 0;
    bool pinned = false;
    BLX_CLEANUP(blx_agent_lock_close) struct blx_agent_lock lock = {.fd = -1};
    blx_text_set(line, reason);
    blx_text_clean(line);
    int rc = blx_beside_path(agent, checkpoint, SUFFIX, path, err);
    if (rc == 0)
        rc = blx_agent_lock_open(agent, &lock, err);
    if (rc == 0)
        rc = blx_agent_lock_share(&lock, BLX_LOCK_CHAINS, err);
    if (rc == 0)
        rc = blx_beside_check(agent, checkpoint, err);
    if (rc == 0)
        rc = blx_pin_find_automatic(agent, &standing, NULL, err);
    if (rc == 0)
        rc = blx_pin_read(agent, checkpoint, &pinned, err);
    if (rc < 0)
        return rc;
    if (standing == 0 && !pinned)
        rc = blx_file_replace(path, line, strlen(line), 0600, err);
    if (rc == 0)
        *result = standing == 0 && !pinned ? BLX_PIN_MADE : BLX_PIN_THERE;
    return rc;
}
