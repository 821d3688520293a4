/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every byte of one segment, read and judged: header, frames, index, footer, nothing between and
 * nothing behind them. Each frame is parsed and unpacked; the index is built anew from the frames
 * and must be the one that is stored. Private to lib/store; verify.h is the public side.
 *
 * What is damaged hurts in one of two ways. Where a restore would refuse the segment (header, index
 * or footer, or it is gone) the whole segment is lost to it. A damaged frame costs only those
 * blocks for which the index names it.
 *
 * Threads: no shared state but the counter. Blocks on the disk; pages of the file are dropped from
 * the page cache before and behind, so that the disk is asked and nobody's pages are driven out.
 */
#pragma once

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/segment/segment.h"

enum { BLX_SEGMENT_FAULT_BYTES = 256 };

/* A damaged range of the file. */
struct blx_segment_fault {
    uint64_t offset_bytes, bytes;
    bool whole;   /* a restore refuses the segment */
    bool excused; /* a prune was making a hole here, and no checkpoint needs what was there */
    size_t first_extent,
        extent_count; /* in the check's extents: blocks whose newest state was here */
    char what[BLX_SEGMENT_FAULT_BYTES];
};

/* Zeros in place of frames. A prune makes them where no checkpoint needs the frames any more; what
 * they are, the checkpoints must tell (verify_holes.c). */
struct blx_segment_hole {
    uint64_t offset_bytes, bytes;
    bool needed;
};

struct blx_segment_check {
    struct blx_segment_fault *faults; /* owned; in order of offset within each part */
    size_t fault_count;
    struct blx_extent *extents; /* owned */
    size_t extent_count;
    struct blx_segment_hole *holes; /* owned; by offset; no faults yet */
    size_t hole_count;
    unsigned block_shift;
    uint64_t frame_count;   /* good ones */
    uint64_t file_bytes;    /* that were read */
    uint64_t torn_bytes;    /* open.seg: what follows the last whole frame, as a crash or a running
                               append leaves it */
    struct blx_index index; /* which frame holds which block: the stored one, or what the frames say
                               where it is damaged */
    bool index_complete;    /* `index` surely has every frame that was stored */
};

void blx_segment_check_done(struct blx_segment_check *check);

/* Notes a fault, without extents. -ENOMEM. */
int blx_segment_check_fault(struct blx_segment_check *check, uint64_t offset, uint64_t bytes,
                            bool whole, const char *format, va_list args)
    __attribute__((format(printf, 5, 0)));

/* Adds blocks to the last fault; neighbours are joined. -ENOMEM. */
int blx_segment_check_extent(struct blx_segment_check *check, struct blx_extent extent);

/* What is known from elsewhere. */
struct blx_segment_request {
    const char *volume_dir;
    uint32_t number;                      /* 0: open.seg */
    unsigned block_shift;                 /* of the volume, 0 where no checkpoint says it */
    uint64_t blocks;                      /* of the volume, as above */
    atomic_uint_least64_t *checked_bytes; /* counts up meanwhile; NULL: nobody wants to know */
};

/*
 * 0 where the segment was read, whatever was found; faults say what. A range that the disk does not
 * give (EIO) is a fault. -ENOENT where there is no such file; -ENOMEM and what else keeps us from
 * judging it. Free `check` with _done() in any case.
 *
 * open.seg is judged as a recovery would, and left alone: a torn tail is no damage, and where the
 * file changes under the reader it is read again.
 */
int blx_segment_check(const struct blx_segment_request *request, struct blx_segment_check *check,
                      struct blx_error *err);

/*
 * A reader for a segment that blx_segment_reader_open() refuses, with the index that its frames
 * give. `complete` says whether that has all that was stored. -EBADMSG where not one frame can be
 * found.
 */
int blx_segment_reader_salvage(const char *volume_dir, uint32_t number, unsigned block_shift,
                               struct blx_segment_reader **reader, bool *complete,
                               struct blx_error *err);
