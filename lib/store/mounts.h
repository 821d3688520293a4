/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which checkpoints are mounted now. The kernel's table of mounts is the record: a mount has the
 * type fuse.blxrep and names what it shows in place of a device. So there is no file to write into
 * the store, none to lock, and none that a killed process leaves behind.
 *
 *     ID:CHECKPOINT:SINCE:PID:DIR      SINCE counts seconds since 1970; CHECKPOINT is a timestamp,
 *                                      "all", or "one": it was named by "latest" or a time
 *
 * Mounts in other mount namespaces are not seen.
 *
 * Threads: no shared state.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/timestamp.h"
#include "store/store.h"

#define BLX_MOUNT_TYPE "blxrep" /* of FUSE */

enum { BLX_MOUNT_SOURCE_BYTES = PATH_MAX + 160 };

struct blx_mount {
    char agent_id[BLX_NAME_BYTES];
    blx_timestamp checkpoint; /* 0: all of the agent's, or one whose name is not known here */
    bool all;
    int64_t since_s; /* since 1970 */
    pid_t pid;
    bool writable;
    char path[PATH_MAX];
};

/* What a mount of this process is called from now on. `checkpoint` is what the user wrote, NULL for
 * all of them. The data directory's path becomes a real one. */
int blx_mounts_source(struct blx_agent_store agent, const char *checkpoint,
                      char source[BLX_MOUNT_SOURCE_BYTES], struct blx_error *err);

enum { BLX_MOUNT_DEVICE_BYTES = 24 };

/* Whether the mount of that name is at the path, and on top of others there. `device` takes its
 * number, "0:42"; NULL: it is not wanted. */
bool blx_mounts_find(const char *path, const char *source, char device[BLX_MOUNT_DEVICE_BYTES]);

/* Calls visit() for each mount of the data directory's agents whose process lives; for none if the
 * kernel's table cannot be read. */
void blx_mounts_each(const char *data_dir, void (*visit)(void *arg, const struct blx_mount *mount),
                     void *arg);
