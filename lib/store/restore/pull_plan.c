/* SPDX-License-Identifier: Apache-2.0 */
/* Takes the plan of a window from the dispatcher, and believes nothing of it. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/array.h"
#include "store/restore/pull_private.h"

static int nonsense(struct blx_error *err, const char *why)
{
    return blx_error_set(err, -EPROTO, "the dispatcher's plan makes no sense: %s", why);
}

static int ask(struct blx_pull *pull, uint32_t volume, uint64_t start_block,
               struct blx_plan_message *header, struct blx_error *err)
{
    const struct blx_message request = {
        .type = BLX_MESSAGE_PLAN_REQUEST,
        .plan_request = {.volume = volume, .start_block = start_block},
    };
    struct blx_message answer;
    int rc = blx_pull_send(pull, &request, err);
    if (rc == 0)
        rc = blx_pull_receive(pull, BLX_MESSAGE_PLAN, &answer, err);
    if (rc < 0)
        return rc;
    *header = answer.plan;
    if (header->volume != volume || header->start_block != start_block)
        return nonsense(err, "it is of another window");
    return 0;
}

/* The frame that the last piece belongs to. */
struct at {
    uint32_t frames; /* so far */
    uint32_t frame_bytes;
};

static int take_piece(struct blx_plan *plan, const struct blx_plan_piece *piece, struct at *at,
                      struct blx_error *err)
{
    uint64_t most_blocks = (uint64_t)BLX_FRAME_MAX_DATA_BYTES >> plan->block_shift;
    if (piece->frame_bytes != 0) {
        at->frames++;
        at->frame_bytes = piece->frame_bytes;
    }
    if (at->frames == 0)
        return nonsense(err, "it begins with half a frame");
    if ((uint64_t)piece->data_block + piece->block_count > most_blocks)
        return nonsense(err, "a frame has more data than a frame can have");
    const struct blx_index_entry entry = {
        .extent = {piece->start_block, piece->block_count},
        .frame_bytes = at->frame_bytes,
        .data_block = piece->data_block,
        .segment = at->frames - 1,
    };
    if (blx_array_make_room(plan->index.entries, plan->index.count) < 0)
        return blx_error_errno(err, -ENOMEM, "cannot plan the restore");
    plan->index.entries[plan->index.count++] = entry;
    return 0;
}

static int take_pieces(struct blx_pull *pull, const struct blx_plan_message *header,
                       struct blx_plan *plan, struct blx_error *err)
{
    struct at at = {.frames = 0};
    while (plan->index.count < header->piece_count) {
        struct blx_message message;
        int rc = blx_pull_receive(pull, BLX_MESSAGE_PLAN_PIECES, &message, err);
        if (rc < 0)
            return rc;
        const struct blx_plan_pieces *pieces = &message.plan_pieces;
        if (pieces->volume != header->volume ||
            pieces->count > header->piece_count - plan->index.count)
            return nonsense(err, "it has more pieces than it said");
        for (uint32_t i = 0; rc == 0 && i < pieces->count; i++)
            rc = take_piece(plan, &pieces->pieces[i], &at, err);
        if (rc < 0)
            return rc;
    }
    return at.frames == header->frame_count ? 0 : nonsense(err, "it has another number of frames");
}

static int compare_blocks(const void *a, const void *b)
{
    const struct blx_index_entry *x = a, *y = b;
    return (x->extent.start_block > y->extent.start_block) -
           (x->extent.start_block < y->extent.start_block);
}

/* Sorted by block, disjoint, and inside of the window: as a flattened index is. */
static int check_pieces(struct blx_plan *plan, uint64_t end_block, struct blx_error *err)
{
    struct blx_index *index = &plan->index;
    uint64_t covered = plan->start_block;
    if (index->count > 0)
        qsort(index->entries, index->count, sizeof(index->entries[0]), compare_blocks);
    for (size_t i = 0; i < index->count; i++) {
        if (index->entries[i].extent.start_block < covered)
            return nonsense(err, "two of its pieces hold one block, or one lies before the window");
        covered = blx_extent_end(index->entries[i].extent);
        if (covered > end_block)
            return nonsense(err, "a piece lies beyond the window");
    }
    return 0;
}

int blx_pull_take_plan(struct blx_pull *pull, uint32_t volume, struct blx_plan *plan,
                       struct blx_error *err)
{
    struct blx_plan_message header;
    pull->planned = false;
    uint64_t blocks = blx_blocks_of_bytes(plan->size_bytes, plan->block_shift);
    int rc = ask(pull, volume, plan->start_block, &header, err);
    if (rc < 0)
        return rc;
    if (header.end_block > blocks)
        return nonsense(err, "its window ends beyond the volume");
    plan->end_block = header.end_block == blocks ? 0 : header.end_block;
    rc = take_pieces(pull, &header, plan, err);
    if (rc < 0)
        return rc;
    pull->planned = true;
    pull->plan_volume = volume;
    pull->plan_start = plan->start_block;
    pull->plan_frames = header.frame_count;
    return check_pieces(plan, header.end_block, err);
}

int blx_pull_plan(struct blx_pull *pull, uint32_t volume, struct blx_journal *journal,
                  struct blx_plan *plan, struct blx_error *err)
{
    const struct blx_restore_volume *info = &pull->volumes[volume];
    uint64_t blocks = blx_blocks_of_bytes(info->size_bytes, info->block_shift);
    plan->size_bytes = info->size_bytes;
    plan->block_shift = info->block_shift;
    if (plan->start_block >= blocks) /* the journal says that all is done */
        return 0;
    int rc = blx_pull_take_plan(pull, volume, plan, err);
    if (rc == 0)
        rc = blx_plan_split_off_holes(plan, err);
    if (rc == 0 && journal != NULL)
        rc = blx_journal_trim(journal, &plan->index, err);
    return rc == 0 ? blx_plan_group_frames(plan, err) : rc;
}
