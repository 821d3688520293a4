/* SPDX-License-Identifier: Apache-2.0 */
#include "store/view/plan_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <limits.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "store/damage_private.h"
#include "store/segment/segment_check_private.h"
#include "store/view/chain_private.h"

void blx_plan_done(struct blx_plan *plan)
{
    for (size_t i = 0; i < plan->segment_count; i++)
        blx_segment_reader_close(plan->segments[i]);
    free(plan->segments);
    free(plan->frames);
    free(plan->holes);
    free(plan->unreadable);
    if (plan->lock != NULL)
        blx_agent_lock_close(plan->lock);
    free(plan->lock);
    blx_index_done(&plan->index);
    *plan = (struct blx_plan){0};
}

static int no_memory(struct blx_error *err)
{
    return blx_error_errno(err, -ENOMEM, "cannot plan the restore");
}

/* The first block after the window. */
static uint64_t window_end(const struct blx_plan *plan)
{
    uint64_t blocks = blx_blocks_of_bytes(plan->size_bytes, plan->block_shift);
    return plan->end_block != 0 && plan->end_block < blocks ? plan->end_block : blocks;
}

/* A remark about the whole image. */
static int remark(struct blx_plan *plan, const char *cause, const char *consequence,
                  struct blx_error *err)
{
    char text[384];
    snprintf(text, sizeof(text), "%.250s: %s", cause, consequence);
    return blx_losses_add(plan->losses, 0, 0, BLX_LOSS_ZEROS, text) < 0 ? no_memory(err) : 0;
}

/* The first wanted extent that ends after the block. */
static size_t wanted_place(const struct blx_plan *plan, uint64_t block)
{
    size_t low = 0, high = plan->wanted_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (blx_extent_end(plan->wanted[middle]) <= block)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The next part of the range from *start on that is wanted, and then *start is its end. */
static bool next_wanted(const struct blx_plan *plan, uint64_t *start, uint64_t end,
                        struct blx_extent *part)
{
    uint64_t from = *start, to = end;
    if (plan->wanted != NULL) {
        size_t at = wanted_place(plan, from);
        if (at == plan->wanted_count)
            return false;
        uint64_t first = plan->wanted[at].start_block, last = blx_extent_end(plan->wanted[at]);
        from = first > from ? first : from;
        to = last < to ? last : to;
    }
    if (from >= to)
        return false;
    *part = (struct blx_extent){from, to - from};
    *start = to;
    return true;
}

static int add_entry(struct blx_plan *plan, const struct blx_index_entry *entry)
{
    uint64_t start = entry->extent.start_block, end = start + entry->extent.block_count;
    struct blx_extent wanted;
    int rc = 0;
    start = start > plan->start_block ? start : plan->start_block;
    end = plan->end_block != 0 && end > plan->end_block ? plan->end_block : end;
    while (rc == 0 && next_wanted(plan, &start, end, &wanted)) {
        struct blx_index_entry part =
            blx_index_part(entry, wanted.start_block, blx_extent_end(wanted));
        rc = blx_index_add(&plan->index, &part);
    }
    return rc;
}

/* Where there are too many entries, those that are hidden go; if that is not enough the window
 * becomes smaller. */
static int narrow(struct blx_plan *plan, struct blx_error *err)
{
    if (plan->max_entries == 0 || plan->index.count <= plan->max_entries)
        return 0;
    if (blx_index_flatten(&plan->index) < 0)
        return no_memory(err);
    size_t kept = plan->max_entries / 2;
    if (plan->index.count <= kept)
        return 0;
    plan->end_block = plan->index.entries[kept].extent.start_block;
    plan->index.count = kept;
    return 0;
}

/* Before the first one is added, so that a segment is taken whole or not at all. */
static int check_bounds(const struct blx_segment_reader *reader, uint64_t blocks,
                        struct blx_error *err)
{
    const struct blx_index *index = blx_segment_reader_index(reader);
    for (size_t i = 0; i < index->count; i++)
        if (index->entries[i].extent.start_block + index->entries[i].extent.block_count > blocks)
            return blx_error_set(err, -EBADMSG,
                                 "segment %u holds blocks beyond the end of its volume",
                                 blx_segment_reader_summary(reader)->number);
    return 0;
}

/* Whether the plan is of digests that this segment has a table of. */
static bool takes_table(const struct blx_plan *plan, const struct blx_segment_reader *reader)
{
    return !blx_key_id_is_none(&plan->tables) &&
           blx_key_id_equal(&plan->tables, &blx_segment_reader_summary(reader)->digest_key_id);
}

static void refer_to_table(struct blx_index_entry *entry)
{
    entry->frame_offset = BLX_PLAN_TABLE;
    entry->frame_bytes = 0;
    entry->data_block = entry->digest;
}

static int add_entries(struct blx_plan *plan, const struct blx_segment_reader *reader,
                       struct blx_error *err)
{
    const struct blx_index *index = blx_segment_reader_index(reader);
    uint32_t number = (uint32_t)plan->segment_count - 1;
    bool takes = takes_table(plan, reader);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < index->count; i++) {
        struct blx_index_entry entry = index->entries[i];
        entry.segment = number;
        /* The chain is walked from the newest segment on; 0 is lose_unreadable()'s. */
        entry.rank = UINT32_MAX - 1 - number;
        if (takes && entry.has_digests)
            refer_to_table(&entry);
        entry.has_digests = false;
        entry.digest = 0;
        rc = add_entry(plan, &entry) < 0 ? no_memory(err) : narrow(plan, err);
    }
    return rc;
}

/* What there is in place of a segment that cannot be opened by its index: its frames, if losses are
 * taken. `reader` stays NULL if nothing can be had from it. */
static int salvage(struct blx_plan *plan, const char *volume_dir, uint32_t number,
                   const struct blx_error *cause, struct blx_segment_reader **reader,
                   struct blx_error *err)
{
    static const char *const complete_text =
        "it was read by its frames, and nothing of it is missing";
    static const char *const lost_text = "the image may have older content in place of its changes";
    bool complete = false;
    int rc = blx_missing_is_damage(cause->code);
    if (plan->losses == NULL || !blx_is_damage(rc))
        return blx_error_copy(err, rc, cause);
    struct blx_error ignored = {0};
    rc = blx_segment_reader_salvage(volume_dir, number, plan->block_shift, reader, &complete,
                                    &ignored);
    if (rc == -ENOMEM)
        return no_memory(err);
    return remark(plan, cause->message, rc == 0 && complete ? complete_text : lost_text, err);
}

static int take_entries(struct blx_plan *plan, const struct blx_segment_reader *reader,
                        uint32_t number, uint64_t size_bytes, struct blx_error *err)
{
    struct blx_error cause = {0};
    int rc = 0;
    if (blx_segment_reader_summary(reader)->block_shift != plan->block_shift)
        rc = blx_error_set(&cause, -EBADMSG, "segment %u has another block size than its volume",
                           number);
    if (rc == 0)
        rc = check_bounds(reader, blx_blocks_of_bytes(size_bytes, plan->block_shift), &cause);
    if (rc == 0)
        return add_entries(plan, reader, err);
    if (plan->losses != NULL)
        return remark(plan, cause.message, "it was left out", err);
    return blx_error_copy(err, rc, &cause);
}

/* Takes over the reader. */
static int add_reader(struct blx_plan *plan, struct blx_segment_reader *reader,
                      const struct blx_chain_segment *segment, struct blx_error *err)
{
    if (blx_array_make_room(plan->segments, plan->segment_count) < 0) {
        blx_segment_reader_close(reader);
        return no_memory(err);
    }
    plan->segments[plan->segment_count++] = reader;
    int rc = take_entries(plan, reader, segment->number, segment->size_bytes, err);
    blx_segment_reader_shrink(reader, plan->segment_count <= plan->max_files
                                          ? BLX_SEGMENT_KEEP_FILE
                                          : BLX_SEGMENT_CLOSE_FILE);
    return rc;
}

struct addition {
    struct blx_plan *plan;
    const char *volume_dir;
    blx_timestamp checkpoint; /* whose chain it is; 0: of no checkpoint */
};

static int add_opened(void *arg, const struct blx_chain_segment *segment,
                      struct blx_segment_reader *reader, const struct blx_error *cause,
                      struct blx_error *err)
{
    const struct addition *addition = arg;
    struct blx_error own = {0};
    int rc = 0;
    if (reader == NULL)
        rc = salvage(addition->plan, addition->volume_dir, segment->number, cause, &reader, &own);
    if (rc == 0 && reader != NULL)
        rc = add_reader(addition->plan, reader, segment, &own);
    if (rc == 0)
        return 0;
    if (segment->checkpoint != 0)
        blx_error_prefix(&own, "the checkpoint %llu needs %llu, which cannot be read",
                         (unsigned long long)addition->checkpoint,
                         (unsigned long long)segment->checkpoint);
    return blx_error_copy(err, rc, &own);
}

int blx_plan_add_segment(struct blx_plan *plan, const char *volume_dir, uint32_t number,
                         uint64_t size_bytes, struct blx_error *err)
{
    const struct blx_chain_segment segment = {.number = number, .size_bytes = size_bytes};
    struct addition addition = {.plan = plan, .volume_dir = volume_dir};
    return blx_opening_run(volume_dir, &segment, 1, add_opened, &addition, err);
}

/* What no index covers is a hole in a whole chain, and unknown in one that breaks off. */
static int note_gaps(struct blx_plan *plan, struct blx_error *err)
{
    uint64_t covered = plan->start_block, blocks = window_end(plan);
    int rc = 0;
    for (size_t i = 0; plan->cut[0] != '\0' && rc == 0 && i <= plan->index.count; i++) {
        const struct blx_extent *extent =
            i < plan->index.count ? &plan->index.entries[i].extent : NULL;
        uint64_t start = extent != NULL ? extent->start_block : blocks;
        if (start > covered)
            rc = blx_losses_add(plan->losses, covered << plan->block_shift,
                                (start - covered) << plan->block_shift, BLX_LOSS_ZEROS, plan->cut);
        covered = extent != NULL ? start + extent->block_count : blocks;
    }
    return rc < 0 ? no_memory(err) : 0;
}

static int add_hole(struct blx_plan *plan, uint64_t start, uint64_t end, struct blx_error *err)
{
    struct blx_extent hole;
    while (next_wanted(plan, &start, end, &hole)) {
        if (blx_array_make_room(plan->holes, plan->hole_count) < 0)
            return no_memory(err);
        plan->holes[plan->hole_count++] = hole;
    }
    return 0;
}

int blx_plan_split_off_holes(struct blx_plan *plan, struct blx_error *err)
{
    uint64_t covered =
        plan->start_block; /* up to here everything is a hole already noted, or data */
    size_t kept = 0;
    for (size_t i = 0; i < plan->index.count; i++) {
        struct blx_index_entry entry = plan->index.entries[i];
        if (entry.zero)
            continue;
        int rc = add_hole(plan, covered, entry.extent.start_block, err);
        if (rc < 0)
            return rc;
        covered = entry.extent.start_block + entry.extent.block_count;
        plan->index.entries[kept++] = entry;
    }
    plan->index.count = kept;
    return add_hole(plan, covered, window_end(plan), err);
}

static int compare_frames(const struct blx_index_entry *x, const struct blx_index_entry *y)
{
    if (x->segment != y->segment)
        return x->segment < y->segment ? -1 : 1;
    if (x->frame_offset != y->frame_offset)
        return x->frame_offset < y->frame_offset ? -1 : 1;
    return 0;
}

static int compare_entries(const void *a, const void *b)
{
    const struct blx_index_entry *x = a, *y = b;
    int order = compare_frames(x, y);
    if (order != 0)
        return order;
    if (x->extent.start_block == y->extent.start_block)
        return 0;
    return x->extent.start_block < y->extent.start_block ? -1 : 1;
}

static int compare_starts(const void *a, const void *b)
{
    const struct blx_plan_frame *x = a, *y = b;
    if (x->start_block == y->start_block)
        return 0;
    return x->start_block < y->start_block ? -1 : 1;
}

/*
 * A frame of scattered blocks is needed at many places. Ordered by frame, each is read and unpacked
 * once however long the chain is; ordered among each other by their first block, they are written
 * nearly in order all the same.
 */
int blx_plan_group_frames(struct blx_plan *plan, struct blx_error *err)
{
    struct blx_index *index = &plan->index;
    plan->data_bytes = blx_index_blocks(index) << plan->block_shift;
    if (index->count == 0)
        return 0;
    qsort(index->entries, index->count, sizeof(index->entries[0]), compare_entries);
    plan->frames = calloc(index->count, sizeof(plan->frames[0]));
    if (plan->frames == NULL)
        return no_memory(err);
    for (size_t i = 0; i < index->count; i++) {
        const struct blx_index_entry *entry = &index->entries[i];
        if (i == 0 || compare_frames(entry, entry - 1) != 0)
            plan->frames[plan->frame_count++] =
                (struct blx_plan_frame){.first = i, .start_block = entry->extent.start_block};
        plan->frames[plan->frame_count - 1].count++;
    }
    qsort(plan->frames, plan->frame_count, sizeof(plan->frames[0]), compare_starts);
    return 0;
}

/* Shares the chains and holds the checkpoint. */
static int hold(struct blx_agent_store agent, blx_timestamp checkpoint, struct blx_plan *plan,
                struct blx_error *err)
{
    plan->lock = malloc(sizeof(*plan->lock));
    if (plan->lock == NULL)
        return no_memory(err);
    plan->lock->fd = -1;
    return blx_agent_lock_begin(agent, checkpoint, plan->lock, err);
}

/* What the manifests say about all of it. */
static void take_chain(struct blx_plan *plan, struct blx_chain *chain)
{
    plan->size_bytes = chain->size_bytes;
    plan->block_shift = chain->block_shift;
    blx_text_set(plan->cut, chain->cut);
    plan->unreadable = chain->unreadable;
    plan->unreadable_count = chain->unreadable_count;
    chain->unreadable = NULL;
}

static int add_chain(struct blx_agent_store agent, blx_timestamp checkpoint, const char *volume,
                     struct blx_plan *plan, struct blx_error *err)
{
    char volume_dir[PATH_MAX];
    enum blx_chain_rule rule = plan->losses != NULL ? BLX_CHAIN_PARTIAL : BLX_CHAIN_WHOLE;
    BLX_CLEANUP(blx_chain_done)
    struct blx_chain chain = {.size_bytes = plan->size_bytes, .block_shift = plan->block_shift};
    int rc = blx_agent_store_volume_path(agent, volume, volume_dir, err);
    if (rc == 0)
        rc = blx_chain_walk(agent, checkpoint, volume, rule, &chain, err);
    if (rc < 0)
        return rc;
    take_chain(plan, &chain);
    plan->chain_begin = plan->segment_count;
    struct addition addition = {.plan = plan, .volume_dir = volume_dir, .checkpoint = checkpoint};
    return blx_opening_run(volume_dir, chain.segments, chain.segment_count, add_opened, &addition,
                           err);
}

int blx_plan_add_chain(struct blx_agent_store agent, blx_timestamp checkpoint, const char *volume,
                       struct blx_plan *plan, struct blx_error *err)
{
    int rc = hold(agent, checkpoint, plan, err);
    if (rc < 0)
        return rc;
    rc = add_chain(agent, checkpoint, volume, plan, err);
    blx_agent_lock_release(plan->lock, BLX_LOCK_CHAINS);
    return rc;
}

static int refuse_unreadable(const struct blx_plan *plan, struct blx_error *err)
{
    char text[512];
    size_t used = 0;
    uint32_t told = 0;
    for (; told < plan->unreadable_count && used < sizeof(text) - 64; told++) {
        uint64_t offset = plan->unreadable[told].start_block << plan->block_shift;
        uint64_t bytes = plan->unreadable[told].block_count << plan->block_shift;
        used +=
            (size_t)snprintf(text + used, sizeof(text) - used, "%s%llu-%llu", told == 0 ? "" : ", ",
                             (unsigned long long)offset, (unsigned long long)(offset + bytes - 1));
    }
    if (told < plan->unreadable_count)
        snprintf(text + used, sizeof(text) - used, " and %u more", plan->unreadable_count - told);
    return blx_error_set(err, -EBADMSG,
                         "it is damaged: bytes %s could not be read on the agent's disk when it "
                         "was taken (--force writes the rest, and older content there, or zeros)",
                         text);
}

/* The part of an unreadable extent that lies in the window; none: its end is its start. */
static void clip(const struct blx_plan *plan, uint32_t at, uint64_t *start, uint64_t *end)
{
    *start = plan->unreadable[at].start_block;
    *end = *start + plan->unreadable[at].block_count;
    *start = *start > plan->start_block ? *start : plan->start_block;
    *end = *end < window_end(plan) ? *end : window_end(plan);
    *end = *end > *start ? *end : *start;
}

/* The blocks that the checkpoint itself lacks are a loss like any other. What the chain has there
 * is older, and more than nothing; below it there are zeros. */
static int lose_unreadable(struct blx_plan *plan, struct blx_error *err)
{
    if (plan->unreadable_count > 0 && plan->losses == NULL)
        return refuse_unreadable(plan, err);
    for (uint32_t i = 0; i < plan->unreadable_count; i++) {
        uint64_t start, end;
        clip(plan, i, &start, &end);
        struct blx_index_entry hole = {
            .extent = {start, end - start}, .frame_offset = UINT64_MAX, .rank = 0, .zero = true};
        if (end > start && blx_index_add(&plan->index, &hole) < 0)
            return no_memory(err);
    }
    return 0;
}

/* Once it is known what the image has there. */
static int note_unreadable(struct blx_plan *plan, struct blx_error *err)
{
    static const char *const cause =
        "the agent could not read its disk there when the checkpoint was taken";
    for (uint32_t i = 0; i < plan->unreadable_count; i++) {
        uint64_t block, end;
        clip(plan, i, &block, &end);
        while (block < end) {
            const struct blx_index_entry *entry = blx_index_find(&plan->index, block);
            uint64_t entry_end = blx_extent_end(entry->extent);
            uint64_t until = entry_end < end ? entry_end : end;
            int rc = blx_losses_add(
                plan->losses, block << plan->block_shift, (until - block) << plan->block_shift,
                entry->frame_offset == UINT64_MAX ? BLX_LOSS_ZEROS : BLX_LOSS_OLDER, cause);
            if (rc < 0)
                return no_memory(err);
            block = until;
        }
    }
    return 0;
}

int blx_plan_make(struct blx_agent_store agent, blx_timestamp checkpoint, const char *volume,
                  struct blx_plan *plan, struct blx_error *err)
{
    int rc = blx_plan_add_chain(agent, checkpoint, volume, plan, err);
    if (rc == 0)
        rc = lose_unreadable(plan, err);
    if (rc < 0)
        return rc;
    if (blx_index_flatten(&plan->index) < 0)
        return no_memory(err);
    rc = note_unreadable(plan, err);
    if (rc == 0)
        rc = note_gaps(plan, err);
    if (rc == 0)
        rc = blx_plan_split_off_holes(plan, err);
    if (rc < 0)
        return rc;
    return blx_plan_group_frames(plan, err);
}
