/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The digests that a rewrite takes along with a frame: those that its old segment's table has, the
 * ones inside an encrypted frame, or, of a frame of before, new ones that are made of its data.
 * Private to lib/store; rewrite_group.c uses it.
 *
 * Threads: each belongs to one thread. Waits for the disk.
 */
#pragma once

#include "store/segment/segment.h"

/* Begins as zero, but for `key`. */
struct blx_carried_digests {
    const struct blx_volume_key *key;  /* borrowed; of plain frames' digests; NULL: not known */
    struct blx_segment_reader *reader; /* owned; of the segment that is copied */
    struct blx_index_entry *entries;   /* owned; its entries with digests, in the frames' order */
    size_t entry_count;
    uint8_t *data; /* owned; of a frame */
    uint8_t digests[(BLX_FRAME_MAX_DATA_BYTES >> BLX_BLOCK_SHIFT_MIN) << BLX_BLOCK_DIGEST_SHIFT];
};

/* The frames that follow are that segment's. -EBADMSG if it is damaged; -ENOMEM; the disk's. */
int blx_carried_digests_open(struct blx_carried_digests *carried, const char *volume_dir,
                             uint32_t number, struct blx_error *err);

/* The key of what find() gives for plain frames; none: it gives nothing. */
struct blx_key_id blx_carried_digests_key(const struct blx_carried_digests *carried);

/* Sets frame->digests, which stay until the next call, unless there are none and none can be made.
 * `offset_bytes` is the frame's place in the old segment. -ENOMEM, -EIO. */
int blx_carried_digests_find(struct blx_carried_digests *carried, struct blx_frame *frame,
                             uint64_t offset_bytes, struct blx_error *err);

void blx_carried_digests_done(struct blx_carried_digests *carried);
