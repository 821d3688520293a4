/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stretch of a view in memory: its blocks without their frames, each of which was read once, in
 * the plan's order. Where changes are scattered a frame has blocks all over the disk, and reading
 * the blocks one after another would unpack it again and again.
 *
 *     plan ──► worth it? ──► fill, by a crew ──► copy, any number at once ──► done
 *
 * Private to lib/store. Threads: it belongs to one, except for _copy().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/view/plan_private.h"
#include "store/view/view.h"

/* Neighbours that have data. */
struct blx_stretch_run {
    struct blx_extent extent;
    uint64_t place; /* in `bytes`, in blocks */
};

/* Begins as zero. */
struct blx_stretch {
    struct blx_plan plan;            /* the index and frames alone; empty once it is filled */
    uint64_t start_bytes, end_bytes; /* of the view */
    unsigned block_shift;
    struct blx_stretch_run *runs; /* owned; ascending; what lies between them is zero */
    size_t run_count;
    uint64_t data_blocks;  /* of all runs */
    uint64_t frame_blocks; /* that are unpacked on the way to them */
    uint8_t *bytes;        /* owned; the runs' data */
    bool *present;         /* owned; for each block of `bytes`; false: its frame is damaged */
};

/* From the block of `offset_bytes` on, until it has `room_bytes` of data, or the view ends, or
 * something comes that nobody knows. -ENOMEM; the disk's errors, if a window has to be planned. */
int blx_stretch_plan(struct blx_stretch *stretch, struct blx_view *view, uint64_t offset_bytes,
                     uint64_t room_bytes, struct blx_error *err);

/* Whether one block after another would cost much more than the stretch. */
bool blx_stretch_is_scattered(const struct blx_stretch *stretch);

/* Reads what was planned, by as many threads as there are processors. A frame that is damaged
 * leaves its blocks out. -ENOMEM. */
int blx_stretch_fill(struct blx_stretch *stretch, struct blx_view *view, struct blx_error *err);

/* Copies what there is from the offset on: returns how many bytes, which is 0 outside of the
 * stretch and for a block that was left out. `data_bytes` grows by those that are no zeros between
 * the runs. */
size_t blx_stretch_copy(const struct blx_stretch *stretch, void *buffer, size_t bytes,
                        uint64_t offset_bytes, uint64_t *data_bytes);

void blx_stretch_done(struct blx_stretch *stretch);
