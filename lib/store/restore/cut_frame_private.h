/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A frame of a few blocks of a stored one: a delta that wants 4 KiB of a frame need not get 256.
 * Only frames that are not encrypted can be cut.
 *
 * Private to lib/store. Threads: one at a time. Waits for the disk.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "store/view/plan_private.h"
#include "store/view/stored_frame_private.h"

/* Begins as zero. */
struct blx_cut_frame {
    struct blx_stored_frame whole;
    struct blx_stored_bytes data, packed; /* owned */
};

void blx_cut_frame_done(struct blx_cut_frame *cut);

/* What the frame of these blocks has at most, if it is worth it; 0: it is sent whole. */
uint32_t blx_cut_frame_bound(const struct blx_plan *plan, const struct blx_plan_frame *planned);

/* Makes it: `planned`'s blocks, in the order of its entries, with the number of the stored frame.
 * `bytes` is the cut's until the next call. -EBADMSG with the segment's name if the stored frame is
 * damaged; -ENOMEM. */
int blx_cut_frame_make(struct blx_cut_frame *cut, const struct blx_plan *plan,
                       const struct blx_plan_frame *planned, const uint8_t **bytes,
                       uint32_t *frame_bytes, struct blx_error *err);
