/* SPDX-License-Identifier: Apache-2.0 */
#include "store/segment/index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/cleanup.h"

void blx_index_done(struct blx_index *index)
{
    free(index->entries);
    *index = (struct blx_index){0};
}

static uint64_t end_of(const struct blx_index_entry *entry)
{
    return entry->extent.start_block + entry->extent.block_count;
}

static bool goes_on(const struct blx_index_entry *last, const struct blx_index_entry *next)
{
    if (end_of(last) != next->extent.start_block || last->zero != next->zero)
        return false;
    if (last->segment != next->segment || last->rank != next->rank ||
        last->frame_offset != next->frame_offset || last->frame_bytes != next->frame_bytes)
        return false;
    if (last->has_digests != next->has_digests ||
        (last->has_digests && next->digest != last->digest + last->extent.block_count))
        return false;
    return last->zero || next->data_block == last->data_block + last->extent.block_count;
}

/* An index of a million entries is held at once. */
_Static_assert(sizeof(struct blx_index_entry) == 48, "an entry stays small");

int blx_index_add(struct blx_index *index, const struct blx_index_entry *entry)
{
    if (entry->extent.block_count == 0)
        return 0;
    if (index->count > 0 && goes_on(&index->entries[index->count - 1], entry)) {
        index->entries[index->count - 1].extent.block_count += entry->extent.block_count;
        return 0;
    }
    if (index->count == index->capacity) {
        size_t capacity = index->capacity == 0 ? 64 : index->capacity * 2;
        struct blx_index_entry *grown =
            reallocarray(index->entries, capacity, sizeof(index->entries[0]));
        if (grown == NULL)
            return -ENOMEM;
        index->entries = grown;
        index->capacity = capacity;
    }
    index->entries[index->count++] = *entry;
    return 0;
}

/* A heap of pointers into the sorted entries; the root wins its block. */
struct heap {
    const struct blx_index_entry **entries;
    size_t count;
};

/* Of equal ranks the one that was added later wins; the order of adding is the order in memory. */
static bool wins(const struct blx_index_entry *a, const struct blx_index_entry *b)
{
    return a->rank != b->rank ? a->rank > b->rank : a > b;
}

static void heap_swap(struct heap *heap, size_t a, size_t b)
{
    const struct blx_index_entry *kept = heap->entries[a];
    heap->entries[a] = heap->entries[b];
    heap->entries[b] = kept;
}

static void heap_push(struct heap *heap, const struct blx_index_entry *entry)
{
    size_t at = heap->count++;
    heap->entries[at] = entry;
    while (at > 0 && wins(heap->entries[at], heap->entries[(at - 1) / 2])) {
        heap_swap(heap, at, (at - 1) / 2);
        at = (at - 1) / 2;
    }
}

static void heap_pop(struct heap *heap)
{
    heap->entries[0] = heap->entries[--heap->count];
    for (size_t at = 0;;) {
        size_t best = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < heap->count; child++)
            if (wins(heap->entries[child], heap->entries[best]))
                best = child;
        if (best == at)
            return;
        heap_swap(heap, at, best);
        at = best;
    }
}

static int compare_starts(const void *a, const void *b)
{
    const struct blx_index_entry *const *x = a, *const *y = b;
    uint64_t start_x = (*x)->extent.start_block, start_y = (*y)->extent.start_block;
    if (start_x != start_y)
        return start_x < start_y ? -1 : 1;
    return *x < *y ? -1 : *x > *y;
}

struct blx_index_entry blx_index_part(const struct blx_index_entry *entry, uint64_t start,
                                      uint64_t end)
{
    struct blx_index_entry part = *entry;
    if (!part.zero)
        part.data_block += (uint32_t)(start - entry->extent.start_block);
    if (part.has_digests)
        part.digest += (uint32_t)(start - entry->extent.start_block);
    part.extent = (struct blx_extent){.start_block = start, .block_count = end - start};
    return part;
}

/* Sweeps over the blocks: the heap holds the entries that cover the current one, perhaps also some
 * that ended unnoticed. */
static int sweep(const struct blx_index_entry **sorted, size_t count, struct heap *heap,
                 struct blx_index *flat)
{
    uint64_t block = 0;
    for (size_t next = 0; next < count || heap->count > 0;) {
        if (heap->count == 0)
            block = sorted[next]->extent.start_block;
        while (next < count && sorted[next]->extent.start_block == block)
            heap_push(heap, sorted[next++]);
        while (heap->count > 0 && end_of(heap->entries[0]) <= block)
            heap_pop(heap);
        if (heap->count == 0)
            continue;
        const struct blx_index_entry *top = heap->entries[0];
        uint64_t end = end_of(top);
        if (next < count && sorted[next]->extent.start_block < end)
            end = sorted[next]->extent.start_block;
        struct blx_index_entry part = blx_index_part(top, block, end);
        int rc = blx_index_add(flat, &part);
        if (rc < 0)
            return rc;
        block = end;
    }
    return 0;
}

static bool is_flat(const struct blx_index *index)
{
    for (size_t i = 1; i < index->count; i++)
        if (index->entries[i].extent.start_block < end_of(&index->entries[i - 1]))
            return false;
    return true;
}

int blx_index_flatten(struct blx_index *index)
{
    if (index->count == 0)
        return 0;
    BLX_CLEANUP_FREE const struct blx_index_entry **sorted =
        calloc(index->count, sizeof(sorted[0]));
    BLX_CLEANUP_FREE const struct blx_index_entry **heap = calloc(index->count, sizeof(heap[0]));
    if (sorted == NULL || heap == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < index->count; i++)
        sorted[i] = &index->entries[i];
    qsort(sorted, index->count, sizeof(sorted[0]), compare_starts);

    struct blx_index flat = {0};
    int rc = sweep(sorted, index->count, &(struct heap){.entries = heap}, &flat);
    if (rc < 0) {
        blx_index_done(&flat);
        return rc;
    }
    blx_assert(is_flat(&flat));
    free(index->entries);
    *index = flat;
    return 0;
}

const struct blx_index_entry *blx_index_find(const struct blx_index *index, uint64_t block)
{
    size_t low = 0, high = index->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (end_of(&index->entries[middle]) > block)
            high = middle;
        else
            low = middle + 1;
    }
    return low < index->count ? &index->entries[low] : NULL;
}

uint64_t blx_index_blocks(const struct blx_index *index)
{
    uint64_t blocks = 0;
    for (size_t i = 0; i < index->count; i++)
        blocks += index->entries[i].extent.block_count;
    return blocks;
}
