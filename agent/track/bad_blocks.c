/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/track/bad_blocks.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/units.h"

enum { SHOWN_EXTENTS = 8 };
static const uint64_t report_interval_ns = 60 * UINT64_C(1000000000);

int agent_bad_blocks_init(struct agent_bad_blocks *bad, uint64_t blocks, struct blx_error *err)
{
    *bad = (struct agent_bad_blocks){.blocks = blocks};
    bad->words = calloc(blx_bitmap_words(blocks), sizeof(bad->words[0]));
    return bad->words != NULL ? 0 : blx_error_errno(err, -ENOMEM, "cannot follow a volume");
}

void agent_bad_blocks_done(struct agent_bad_blocks *bad)
{
    free(bad->words);
    *bad = (struct agent_bad_blocks){0};
}

/* Block by block, because the old content of a word shows whether a block is new. Failures are
 * few. */
void agent_bad_blocks_add(struct agent_bad_blocks *bad, struct blx_extent extent, int rc)
{
    atomic_store(&bad->error, rc);
    for (uint64_t i = 0; i < extent.block_count; i++) {
        uint64_t block = extent.start_block + i, bit = UINT64_C(1) << (block % 64);
        if ((__atomic_fetch_or(&bad->words[block / 64], bit, __ATOMIC_SEQ_CST) & bit) != 0)
            continue;
        atomic_fetch_add(&bad->count, 1);
        atomic_fetch_add(&bad->found, 1);
    }
}

void agent_bad_blocks_remove_word(struct agent_bad_blocks *bad, uint64_t index, uint64_t bits)
{
    if (bits == 0 || atomic_load(&bad->count) == 0)
        return;
    uint64_t before = __atomic_fetch_and(&bad->words[index], ~bits, __ATOMIC_SEQ_CST);
    atomic_fetch_sub(&bad->count, (uint64_t)__builtin_popcountll(before & bits));
}

void agent_bad_blocks_remove(struct agent_bad_blocks *bad, struct blx_extent extent)
{
    if (atomic_load(&bad->count) == 0)
        return;
    for (uint64_t i = 0; i < extent.block_count; i++) {
        uint64_t block = extent.start_block + i;
        agent_bad_blocks_remove_word(bad, block / 64, UINT64_C(1) << (block % 64));
    }
}

uint64_t agent_bad_blocks_get_word(const struct agent_bad_blocks *bad, uint64_t index)
{
    return atomic_load(&bad->count) == 0 ? 0
                                         : __atomic_load_n(&bad->words[index], __ATOMIC_SEQ_CST);
}

/* Joins the two neighbours with the smallest gap. */
static void join_nearest(struct blx_unreadable *list)
{
    uint32_t nearest = 0;
    uint64_t smallest = UINT64_MAX;
    for (uint32_t i = 0; i + 1 < list->extent_count; i++) {
        uint64_t gap = list->extents[i + 1].start_block -
                       (list->extents[i].start_block + list->extents[i].block_count);
        if (gap < smallest) {
            smallest = gap;
            nearest = i;
        }
    }
    const struct blx_extent *next = &list->extents[nearest + 1];
    list->extents[nearest].block_count =
        next->start_block + next->block_count - list->extents[nearest].start_block;
    memmove(&list->extents[nearest + 1], &list->extents[nearest + 2],
            (list->extent_count - nearest - 2) * sizeof(list->extents[0]));
    list->extent_count--;
}

void agent_bad_blocks_list(const struct agent_bad_blocks *bad, struct blx_unreadable *list)
{
    struct blx_extent run = {0};
    list->extent_count = 0;
    if (atomic_load(&bad->count) == 0)
        return;
    while (blx_bitmap_next_run(bad->words, run.start_block + run.block_count, bad->blocks,
                               UINT64_MAX, &run)) {
        if (list->extent_count == BLX_UNREADABLE_MAX_EXTENTS)
            join_nearest(list);
        list->extents[list->extent_count++] = run;
    }
}

static void log_found(const struct agent_bad_blocks *bad, const char *device, unsigned block_shift)
{
    struct blx_unreadable list;
    char text[512] = "", size[BLX_UNIT_TEXT_BYTES];
    size_t used = 0;
    uint32_t told = 0;
    agent_bad_blocks_list(bad, &list);
    for (; told < list.extent_count && told < SHOWN_EXTENTS; told++) {
        uint64_t offset = list.extents[told].start_block << block_shift;
        uint64_t bytes = list.extents[told].block_count << block_shift;
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%" PRIu64 "-%" PRIu64,
                                 told == 0 ? "" : ", ", offset, offset + bytes - 1);
    }
    if (told < list.extent_count)
        snprintf(text + used, sizeof(text) - used, " and more");
    blx_log_error(
        "'%s': cannot read bytes %s (%s): %s: they stay marked and are tried again; until "
        "then checkpoints are damaged",
        device, text, blx_size_format(atomic_load(&bad->count) << block_shift, size),
        strerror(-atomic_load(&bad->error)));
}

void agent_bad_blocks_report(struct agent_bad_blocks *bad, const char *device, unsigned block_shift)
{
    uint64_t found = atomic_load(&bad->found), now_ns = blx_clock_ns();
    if (atomic_load(&bad->count) == 0) {
        if (bad->told_ns != 0)
            blx_log_notice("'%s': every block that could not be read can be read again", device);
        bad->told_ns = 0;
        bad->told_found = found;
    } else if (found != bad->told_found &&
               (bad->told_ns == 0 || now_ns - bad->told_ns >= report_interval_ns)) {
        log_found(bad, device, block_shift);
        bad->told_ns = now_ns;
        bad->told_found = found;
    }
}
