/* SPDX-License-Identifier: Apache-2.0 */
#include "store/restore/cut_frame_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

void blx_cut_frame_done(struct blx_cut_frame *cut)
{
    blx_stored_frame_done(&cut->whole);
    free(cut->data.bytes);
    free(cut->packed.bytes);
    *cut = (struct blx_cut_frame){0};
}

static const struct blx_index_entry *entry_of(const struct blx_plan *plan,
                                              const struct blx_plan_frame *planned, size_t number)
{
    return &plan->index.entries[planned->first + number];
}

static uint64_t data_bytes_of(const struct blx_plan *plan, const struct blx_plan_frame *planned)
{
    uint64_t blocks = 0;
    for (size_t i = 0; i < planned->count; i++)
        blocks += entry_of(plan, planned, i)->extent.block_count;
    return blocks << plan->block_shift;
}

uint32_t blx_cut_frame_bound(const struct blx_plan *plan, const struct blx_plan_frame *planned)
{
    uint64_t bound = sizeof(struct blx_frame_header_disk) +
                     planned->count * sizeof(struct blx_extent_disk) + data_bytes_of(plan, planned);
    if (planned->count > BLX_FRAME_MAX_EXTENTS || bound >= entry_of(plan, planned, 0)->frame_bytes)
        return 0;
    return (uint32_t)bound;
}

static int no_memory(struct blx_error *err)
{
    return blx_error_errno(err, -ENOMEM, "cannot read what is stored");
}

static int make_room(struct blx_stored_bytes *buffer, size_t bytes, struct blx_error *err)
{
    if (buffer->size >= bytes)
        return 0;
    uint8_t *grown = realloc(buffer->bytes, bytes);
    if (grown == NULL)
        return no_memory(err);
    *buffer = (struct blx_stored_bytes){.bytes = grown, .size = bytes};
    return 0;
}

/* The blocks' data one after another, and where they belong. */
static int collect(struct blx_cut_frame *cut, const struct blx_plan *plan,
                   const struct blx_plan_frame *planned, struct blx_frame_extent *extents,
                   struct blx_error *err)
{
    struct blx_stored_cursor cursor = {.frame = &cut->whole.frame};
    uint8_t *to = cut->data.bytes;
    for (size_t i = 0; i < planned->count; i++) {
        const struct blx_index_entry *entry = entry_of(plan, planned, i);
        size_t bytes = (size_t)(entry->extent.block_count << plan->block_shift);
        if (!blx_stored_frame_holds(&cursor, entry))
            return blx_stored_frame_lacks(plan->segments[entry->segment], cut->whole.frame.seq,
                                          err);
        memcpy(to, cut->whole.data.bytes + ((size_t)entry->data_block << plan->block_shift), bytes);
        extents[i] = (struct blx_frame_extent){.extent = entry->extent};
        to += bytes;
    }
    return 0;
}

int blx_cut_frame_make(struct blx_cut_frame *cut, const struct blx_plan *plan,
                       const struct blx_plan_frame *planned, const uint8_t **bytes,
                       uint32_t *frame_bytes, struct blx_error *err)
{
    const struct blx_index_entry *first = entry_of(plan, planned, 0);
    size_t data_bytes = (size_t)data_bytes_of(plan, planned), packed_bytes = 0;
    BLX_CLEANUP_FREE struct blx_frame_extent *extents = calloc(planned->count, sizeof(*extents));
    if (extents == NULL)
        return no_memory(err);
    int rc = blx_stored_frame_read(&cut->whole, plan->segments[first->segment], first, NULL, err);
    if (rc == 0)
        rc = make_room(&cut->data, data_bytes, err);
    if (rc == 0)
        rc = collect(cut, plan, planned, extents, err);
    if (rc < 0)
        return rc;
    const struct blx_frame_content content = {
        .codec = cut->whole.frame.codec,
        .block_shift = plan->block_shift,
        .generation = cut->whole.frame.generation,
        .extents = extents,
        .extent_count = (uint32_t)planned->count,
        .data = cut->data.bytes,
        .data_bytes = (uint32_t)data_bytes,
    };
    rc = make_room(&cut->packed, blx_frame_bound(&content), err);
    if (rc == 0)
        rc = blx_frame_pack(&content, cut->packed.bytes, &packed_bytes, err);
    if (rc < 0)
        return rc;
    blx_frame_seal(cut->packed.bytes, cut->whole.frame.seq);
    *bytes = cut->packed.bytes;
    *frame_bytes = (uint32_t)packed_bytes;
    return 0;
}
