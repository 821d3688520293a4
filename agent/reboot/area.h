/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The area of the disk that a save is written to: a preallocated file, whose blocks are written and
 * read on the filesystem's block device itself. So it can be written when the filesystem is
 * read-only again at the end of a shutdown, and before it becomes writable at boot. The filesystem
 * takes no notice: the file's size, place and state stay as they are.
 *
 * It must lie on ext4 or xfs: these write a file's content where they said (FIEMAP), and have no
 * checksum of it. Each write is durable when it returns (O_DIRECT, O_DSYNC), and passes the tracker
 * of the disk like any other.
 *
 * Threads: none of its own. Waits for the disk.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum {
    AGENT_AREA_BYTES = 4 << 20,
    AGENT_AREA_EXTENTS = 256,
    AGENT_AREA_ALIGN = 4096,
};

struct agent_area {
    char path[256];        /* of the file */
    uint32_t major, minor; /* of the block device */
    int fd;                /* of the block device; -1: closed */
    uint32_t extent_count;
    struct {
        uint64_t logical, physical, bytes;
    } extents[AGENT_AREA_EXTENTS];
};

/* Makes the file, filled with zeros and durable, unless it is there. -EROFS: the filesystem cannot
 * be written now. */
int agent_area_make(const char *path, struct blx_error *err);

/*
 * Finds the file's blocks and opens the device. -ENOENT: there is no file; -ENOTSUP: the filesystem
 * is no ext4 or xfs, or the file lies in a way that cannot be written so (a hole, shared blocks).
 */
int agent_area_open(const char *path, struct agent_area *area, struct blx_error *err);
void agent_area_close(struct agent_area *area);

/* `buffer` is aligned to AGENT_AREA_ALIGN, and so are `bytes` and `offset`, within
 * AGENT_AREA_BYTES. */
int agent_area_read(const struct agent_area *area, void *buffer, size_t bytes, uint64_t offset,
                    struct blx_error *err);
int agent_area_write(const struct agent_area *area, const void *buffer, size_t bytes,
                     uint64_t offset, struct blx_error *err);
