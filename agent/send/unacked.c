/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/send/unacked.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

struct agent_unacked_frame {
    struct agent_unacked_frame *next;
    uint64_t seq;
    size_t frame_bytes;
    uint32_t extent_count;
    struct blx_extent extents[];
};

int agent_unacked_add(struct agent_unacked *unacked, const struct agent_batch *batch, uint64_t seq,
                      size_t frame_bytes)
{
    size_t extents_bytes = batch->extent_count * sizeof(batch->extents[0]);
    uint32_t volume = batch->volume->index;
    blx_assert(seq > batch->volume->ledger.head->acked_seq);
    blx_assert(seq > batch->volume->ledger.head->sent_seq);
    blx_assert(unacked->last[volume] == NULL || seq > unacked->last[volume]->seq);
    struct agent_unacked_frame *frame = malloc(sizeof(*frame) + extents_bytes);
    if (frame == NULL)
        return -ENOMEM;
    *frame = (struct agent_unacked_frame){
        .seq = seq, .frame_bytes = frame_bytes, .extent_count = batch->extent_count};
    memcpy(frame->extents, batch->extents, extents_bytes);

    if (unacked->last[volume] != NULL)
        unacked->last[volume]->next = frame;
    else
        unacked->first[volume] = frame;
    unacked->last[volume] = frame;
    unacked->bytes += frame_bytes;
    unacked->frames++;
    batch->volume->ledger.head->sent_seq = seq; /* before anybody can have got the frame */
    return 0;
}

static struct agent_unacked_frame *take_first(struct agent_unacked *unacked, uint32_t volume)
{
    struct agent_unacked_frame *frame = unacked->first[volume];
    unacked->first[volume] = frame->next;
    if (frame->next == NULL)
        unacked->last[volume] = NULL;
    unacked->bytes -= frame->frame_bytes;
    unacked->frames--;
    return frame;
}

/* I2: frames leave in the order in which they were sent, and only those that are durable. */
void agent_unacked_settle(struct agent_unacked *unacked, struct agent_volume *volume,
                          uint64_t durable_seq)
{
    uint64_t settled_seq = volume->ledger.head->acked_seq;
    blx_assert(durable_seq < volume->next_seq);
    while (unacked->first[volume->index] != NULL &&
           unacked->first[volume->index]->seq <= durable_seq) {
        struct agent_unacked_frame *frame = take_first(unacked, volume->index);
        blx_assert(frame->seq > settled_seq && frame->seq <= durable_seq);
        settled_seq = frame->seq;
        agent_volume_clear_acked(volume, frame->extents, frame->extent_count);
        free(frame);
    }
    if (volume->ledger.head->acked_seq < durable_seq)
        volume->ledger.head->acked_seq = durable_seq;
}

void agent_unacked_done(struct agent_unacked *unacked)
{
    for (uint32_t volume = 0; volume < BLX_MAX_VOLUMES; volume++) {
        while (unacked->first[volume] != NULL)
            free(take_first(unacked, volume));
    }
}
