/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frames that were sent and are not yet durable, per volume, in the order of sending. Their
 * blocks are in flight in the ledger; this list knows which frame holds which block.
 *
 * Threads: no lock of its own, the agent's guards it. The sender adds, the receiver settles; after
 * both have ended the control thread forgets what is left.
 */
#pragma once

#include <stdint.h>

#include "agent/send/batch.h"

struct agent_unacked_frame;

struct agent_unacked {
    struct agent_unacked_frame *first[BLX_MAX_VOLUMES];
    struct agent_unacked_frame *last[BLX_MAX_VOLUMES];
    uint64_t bytes;
    uint64_t frames;
};

/* Remembers that frame `seq` of `frame_bytes` holds the batch's extents. `seq` is larger than that
 * of any frame of the volume before it. -ENOMEM. */
int agent_unacked_add(struct agent_unacked *unacked, const struct agent_batch *batch, uint64_t seq,
                      size_t frame_bytes);

/* Every frame of the volume up to `durable_seq` is durable: its marks are cleared, and it is
 * forgotten. The caller has checked that `durable_seq` was sent (below volume->next_seq). */
void agent_unacked_settle(struct agent_unacked *unacked, struct agent_volume *volume,
                          uint64_t durable_seq);

/* Forgets everything; blocks in flight stay so in the ledger. */
void agent_unacked_done(struct agent_unacked *unacked);
