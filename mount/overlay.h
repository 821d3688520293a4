/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is written to a writable mount: a sparse file of its own, never the store. The file has a
 * header, a bitmap with a bit for each unit of 4 KiB, and the units at their own places after it.
 * A unit without its bit is the checkpoint's.
 *
 *     header, 4 KiB | bitmap, rounded to 4 KiB | unit 0 | unit 1 | ...      all volumes in a row
 *
 * The header names the agent and the checkpoint, so that a file is never laid over another one. A
 * killed process loses nothing that was written; mount_overlay_sync() makes it durable.
 *
 * Threads: read, write and sync from any.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/timestamp.h"

enum { MOUNT_OVERLAY_UNIT_BYTES = 4096 };

struct mount_overlay;

/* Makes the file, or goes on with one. `path` "": one without a name in the folder for temporary
 * files. -EBUSY if another mount writes to it; -EINVAL if it is no such file, or of another agent,
 * checkpoint or size. */
int mount_overlay_open(const char *path, struct mount_overlay **overlay, struct blx_error *err);
int mount_overlay_begin(struct mount_overlay *overlay, const char *agent_id,
                        blx_timestamp checkpoint, uint64_t size_bytes, struct blx_error *err);
void mount_overlay_close(struct mount_overlay *overlay);

/* Reads what lies below: 0 or -errno. */
struct mount_below {
    int (*read)(void *arg, void *buffer, size_t bytes, uint64_t offset_bytes);
    void *arg;
    uint64_t offset_bytes; /* where its volume begins in the overlay */
    uint64_t size_bytes;
};

/* The volume's content as it is now. 0 or -errno. */
int mount_overlay_read(struct mount_overlay *overlay, const struct mount_below *below, void *buffer,
                       size_t bytes, uint64_t offset_bytes);
int mount_overlay_write(struct mount_overlay *overlay, const struct mount_below *below,
                        const void *buffer, size_t bytes, uint64_t offset_bytes);
int mount_overlay_sync(struct mount_overlay *overlay);
