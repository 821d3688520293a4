/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is written over a checkpoint, by a writable mount, by NBD or by a server that was booted
 * from it: a sparse file of its own, never the store. The file has a header, a bitmap with a bit
 * for each unit of 4 KiB, and the units at their own places after it. A unit without its bit is
 * the checkpoint's.
 *
 *     header, 4 KiB | bitmap, rounded to 4 KiB | unit 0 | unit 1 | ...      all volumes in a row
 *
 * The header names the agent and the checkpoint, so that a file is never laid over another one. A
 * killed process loses nothing that was written; blx_overlay_sync() makes it durable.
 *
 * Threads: read, write, find and sync from any.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/checkpoint/manifest.h"

enum { BLX_OVERLAY_UNIT_BYTES = 4096 };

struct blx_overlay;

enum blx_overlay_mode {
    BLX_OVERLAY_READ, /* the file is there, and stays as it is */
    BLX_OVERLAY_WRITE /* it is made, or gone on with */
};

/* `path` "": one without a name in the folder for temporary files, to be written. -EBUSY if
 * somebody else writes to it, or reads what is to be written. */
int blx_overlay_open(const char *path, enum blx_overlay_mode mode, struct blx_overlay **overlay,
                     struct blx_error *err);

/* The same for a file that is open for reading and writing, to be written: the descriptor becomes
 * the overlay's, also if it fails. Whoever inherits it may have the overlay, too, but later. */
int blx_overlay_adopt(int fd, struct blx_overlay **overlay, struct blx_error *err);

/* A file without a name in the folder for temporary files, which goes with its last user. The
 * descriptor, or -errno. */
int blx_overlay_open_nameless(struct blx_error *err);

/* Lays it over the agent's checkpoint, once. -EINVAL if it is no such file, if it belongs to
 * another agent or checkpoint, or was cut short; the disk's errors. */
int blx_overlay_begin(struct blx_overlay *overlay, const char *agent_id,
                      const struct blx_manifest *manifest, struct blx_error *err);

/* NULL is allowed. */
void blx_overlay_close(struct blx_overlay *overlay);

/* Where the manifest's volume number `at` begins in an overlay; after the last one: its size. */
uint64_t blx_overlay_place(const struct blx_manifest *manifest, uint32_t at);

/* Reads what lies below: 0 or -errno. */
struct blx_overlay_below {
    int (*read)(void *arg, void *buffer, size_t bytes, uint64_t offset_bytes);
    void *arg;
    uint64_t offset_bytes; /* where its volume begins in the overlay */
    uint64_t size_bytes;
};

/* The volume's content as it is now. 0 or -errno. One without a name takes at most half of the room
 * that was free when it began, and then writes end with -ENOSPC. */
int blx_overlay_read(struct blx_overlay *overlay, const struct blx_overlay_below *below,
                     void *buffer, size_t bytes, uint64_t offset_bytes);
int blx_overlay_write(struct blx_overlay *overlay, const struct blx_overlay_below *below,
                      const void *buffer, size_t bytes, uint64_t offset_bytes);

/* The first bytes of the volume from the offset on that were written, as far as they lie together.
 * False: there are none. */
struct blx_overlay_run {
    uint64_t offset_bytes, bytes;
};
bool blx_overlay_find(const struct blx_overlay *overlay, const struct blx_overlay_below *below,
                      uint64_t offset_bytes, struct blx_overlay_run *run);

int blx_overlay_sync(struct blx_overlay *overlay);
