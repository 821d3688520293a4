/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A batch: extents of one volume that were claimed together, their data, and the frame made from
 * both.
 *
 * Threads: a batch belongs to one thread at a time. Nothing here allocates, so that a batch can be
 * read while a filesystem is frozen.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/track/volume.h"
#include "base/error.h"
#include "wire/frame.h"

enum {
    AGENT_BATCH_DATA_BYTES = BLX_FRAME_TARGET_BYTES,
    AGENT_BATCH_MAX_EXTENTS = BLX_FRAME_TARGET_BYTES >> BLX_BLOCK_SHIFT_MIN,
};

struct agent_batch {
    struct agent_volume *volume; /* borrowed */
    struct blx_extent extents[AGENT_BATCH_MAX_EXTENTS];
    uint32_t extent_count;
    uint64_t bad;  /* bit n: the batch's block number n could not be read */
    int bad_error; /* why, -errno */
    uint8_t *data; /* borrowed: AGENT_BATCH_DATA_BYTES, aligned to 4 KiB; in the extents' order */
};

_Static_assert((int)AGENT_BATCH_MAX_EXTENTS <= 64, "batch.bad has a bit for each block");

/* Claims the next blocks at or after *cursor. False if no more are marked. */
bool agent_batch_claim(struct agent_batch *batch, struct agent_volume *volume,
                       enum agent_claim kind, uint64_t *cursor);

uint64_t agent_batch_count_blocks(const struct agent_batch *batch);

/*
 * Reads the blocks (O_DIRECT, I5), near ones in one go. If the disk reports an error the blocks are
 * read in ever smaller parts, so that only those that fail by themselves count as unreadable:
 * batch->bad, whose data are undefined. Waits for the disk, as long as patience.h has it. -errno if
 * single blocks are not the cause (no memory, the device is gone), -ETIME if it does not answer:
 * then `batch->data` are undefined.
 */
int agent_batch_read(struct agent_batch *batch);

/*
 * For a claimed batch that was read: gives the bad blocks back to the volume
 * (agent_volume_mark_unreadable()) and takes them out of extents and data, so that the rest can be
 * sent; perhaps nothing is left. Blocks that could be read are no longer bad.
 */
void agent_batch_leave_out_bad(struct agent_batch *batch);

/* The keyed digests of the blocks that were read (crypt/block_digest.h), in their order:
 * BLX_BLOCK_DIGEST_BYTES for each, into `digests`. Those of bad blocks are of whatever lies there.
 * The volume must have a digest_key. -ENOMEM, -EIO. */
int agent_batch_digest(const struct agent_batch *batch, uint8_t *digests, struct blx_error *err);

/* Packs the data into a frame at that level (blx_frame_content); blocks of zeros become extents
 * without data. In a session with digests these follow the frame, and count in `frame_bytes`.
 * Changes `data`. `frame` has BLX_FRAME_MAX_BYTES. */
int agent_batch_pack(struct agent_batch *batch, enum blx_codec codec, int level, void *frame,
                     size_t *frame_bytes, struct blx_error *err);
