/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request and the result of a check of a segment: faults, holes, and the index that remains.
 * Private to lib/store.
 *
 * Threads: the findings belong to one thread.
 */
#pragma once

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bitmap.h"
#include "crypt/volume_key.h"
#include "store/segment/index.h"

/* The segment, and what a checkpoint says about it. */
struct blx_segment_request {
    const char *volume_dir;
    uint32_t number;                         /* 0: open.seg */
    unsigned block_shift;                    /* of the volume, 0 if no checkpoint says it */
    uint64_t blocks;                         /* of the volume, as above */
    atomic_uint_least64_t *checked_bytes;    /* counts up meanwhile; may be NULL */
    const struct blx_volume_key *digest_key; /* of plain frames' digests; NULL: not known */
};

enum { BLX_SEGMENT_FAULT_BYTES = 256 };

/* The price of damage for a restore. */
enum blx_segment_harm {
    BLX_HARM_FRAMES, /* the blocks for which the index names the damaged frames */
    BLX_HARM_WHOLE   /* the segment: a restore refuses it */
};

/* A damaged range of the file. */
struct blx_segment_fault {
    uint64_t offset_bytes, bytes;
    bool whole;   /* a restore refuses the segment */
    bool excused; /* a prune was making a hole here, and no checkpoint needs what was there */
    size_t first_extent,
        extent_count; /* in the check's extents: blocks whose newest state was here */
    char what[BLX_SEGMENT_FAULT_BYTES];
};

/* Zeros in place of frames. A prune makes them if no checkpoint needs the frames any more; whether
 * they are holes or damage only the checkpoints tell (verify_holes.c). */
struct blx_segment_hole {
    uint64_t offset_bytes, bytes;
    bool needed;
};

struct blx_segment_findings {
    struct blx_segment_fault *faults; /* owned; in order of offset within each part */
    size_t fault_count;
    struct blx_extent *extents; /* owned */
    size_t extent_count;
    struct blx_segment_hole *holes; /* owned; by offset; no faults yet */
    size_t hole_count;
    unsigned block_shift;
    uint64_t frame_count;   /* good ones */
    uint64_t file_bytes;    /* that were read */
    uint64_t torn_bytes;    /* open.seg: after the last whole frame, as a crash or a running
                               append leaves it */
    struct blx_index index; /* which frame holds which block: the stored one, or the frames' own
                               if it is damaged */
    bool index_complete;    /* `index` surely has every frame that was stored */
};

void blx_segment_findings_done(struct blx_segment_findings *findings);

/* Notes a hole; holes that follow each other become one. -ENOMEM. */
int blx_segment_findings_add_hole(struct blx_segment_findings *findings, uint64_t offset_bytes,
                                  uint64_t bytes);

/* Notes a fault, without extents. -ENOMEM. */
int blx_segment_findings_add_fault(struct blx_segment_findings *findings, uint64_t offset,
                                   uint64_t bytes, enum blx_segment_harm harm, const char *format,
                                   va_list args) __attribute__((format(printf, 5, 0)));

/* Adds blocks to the last fault; neighbours are joined. -ENOMEM. */
int blx_segment_findings_add_extent(struct blx_segment_findings *findings,
                                    struct blx_extent extent);
