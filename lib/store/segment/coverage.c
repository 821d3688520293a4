/* SPDX-License-Identifier: Apache-2.0 */
#include "store/segment/coverage_private.h"

#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"

enum { PAGE_WORDS = 64, PAGE_BLOCKS = PAGE_WORDS * 64 };

int blx_coverage_init(struct blx_coverage *coverage, uint64_t blocks)
{
    size_t page_count = blocks / PAGE_BLOCKS + (blocks % PAGE_BLOCKS != 0);
    *coverage = (struct blx_coverage){.blocks = blocks, .page_count = page_count};
    /* Untouched memory of a large calloc() costs nothing. */
    coverage->pages = calloc(page_count + 1, sizeof(coverage->pages[0]));
    coverage->skip = calloc(page_count + 1, sizeof(coverage->skip[0]));
    if (coverage->pages != NULL && coverage->skip != NULL)
        return 0;
    blx_coverage_done(coverage);
    return -ENOMEM;
}

void blx_coverage_done(struct blx_coverage *coverage)
{
    for (size_t i = 0; coverage->pages != NULL && i < coverage->page_count; i++)
        free(coverage->pages[i]);
    free(coverage->pages);
    free(coverage->skip);
    *coverage = (struct blx_coverage){0};
}

/* The first page at or after `page` that is not full; `page_count` if there is none. Halves the
 * path on its way, so that many walks over one run cost as little as one. */
static size_t find_open(struct blx_coverage *coverage, size_t page)
{
    uint32_t *skip = coverage->skip;
    while (skip[page] != 0) {
        size_t next = page + skip[page];
        skip[page] += skip[next];
        page += skip[page];
    }
    return page;
}

static uint64_t page_blocks(const struct blx_coverage *coverage, size_t page)
{
    uint64_t left = coverage->blocks - (uint64_t)page * PAGE_BLOCKS;
    return left < PAGE_BLOCKS ? left : PAGE_BLOCKS;
}

/* The part of the extent that lies in the page, counted from the page's begin. */
static struct blx_extent part_in(size_t page, struct blx_extent extent)
{
    uint64_t first = (uint64_t)page * PAGE_BLOCKS, end = first + PAGE_BLOCKS;
    uint64_t from = extent.start_block > first ? extent.start_block : first;
    uint64_t to = blx_extent_end(extent) < end ? blx_extent_end(extent) : end;
    return (struct blx_extent){.start_block = from - first, .block_count = to - from};
}

static uint64_t count_page(const uint64_t *words)
{
    return words == NULL ? 0 : blx_bitmap_count(words, PAGE_BLOCKS);
}

static void fill_page(struct blx_coverage *coverage, size_t page)
{
    free(coverage->pages[page]);
    coverage->pages[page] = NULL;
    coverage->skip[page] = 1;
}

static int add_to_page(struct blx_coverage *coverage, size_t page, struct blx_extent part)
{
    uint64_t blocks = page_blocks(coverage, page);
    uint64_t before = count_page(coverage->pages[page]);
    if (part.block_count == blocks) {
        fill_page(coverage, page);
        coverage->covered += blocks - before;
        return 0;
    }
    if (coverage->pages[page] == NULL)
        coverage->pages[page] = calloc(PAGE_WORDS, sizeof(uint64_t));
    if (coverage->pages[page] == NULL)
        return -ENOMEM;
    blx_bitmap_set(coverage->pages[page], part);
    uint64_t after = count_page(coverage->pages[page]);
    coverage->covered += after - before;
    if (after == blocks)
        fill_page(coverage, page);
    return 0;
}

int blx_coverage_add(struct blx_coverage *coverage, struct blx_extent extent)
{
    uint64_t end = blx_extent_end(extent);
    blx_assert(end <= coverage->blocks);
    if (extent.block_count == 0)
        return 0;
    size_t page = find_open(coverage, extent.start_block / PAGE_BLOCKS);
    while ((uint64_t)page * PAGE_BLOCKS < end) {
        int rc = add_to_page(coverage, page, part_in(page, extent));
        if (rc < 0)
            return rc;
        page = find_open(coverage, page + 1);
    }
    return 0;
}

static bool page_has(const uint64_t *words, struct blx_extent part)
{
    uint64_t block = part.start_block, end = blx_extent_end(part);
    while (words != NULL && block < end) {
        uint64_t in_word = block % 64, count = 64 - in_word;
        if (count > end - block)
            count = end - block;
        uint64_t mask = (count == 64 ? ~UINT64_C(0) : (UINT64_C(1) << count) - 1) << in_word;
        if ((words[block / 64] & mask) != mask)
            return false;
        block += count;
    }
    return words != NULL;
}

bool blx_coverage_has(struct blx_coverage *coverage, struct blx_extent extent)
{
    uint64_t end = blx_extent_end(extent);
    blx_assert(end <= coverage->blocks);
    if (extent.block_count == 0)
        return true;
    size_t page = find_open(coverage, extent.start_block / PAGE_BLOCKS);
    while ((uint64_t)page * PAGE_BLOCKS < end) {
        if (!page_has(coverage->pages[page], part_in(page, extent)))
            return false;
        page = find_open(coverage, page + 1);
    }
    return true;
}

static uint64_t count_part(const uint64_t *words, struct blx_extent part)
{
    uint64_t count = 0, block = part.start_block, end = blx_extent_end(part);
    while (block < end) {
        uint64_t in_word = block % 64, bits = 64 - in_word;
        if (bits > end - block)
            bits = end - block;
        uint64_t mask = (bits == 64 ? ~UINT64_C(0) : (UINT64_C(1) << bits) - 1) << in_word;
        count += (uint64_t)__builtin_popcountll(words[block / 64] & mask);
        block += bits;
    }
    return count;
}

uint64_t blx_coverage_count(const struct blx_coverage *coverage, struct blx_extent extent)
{
    uint64_t count = 0, end = blx_extent_end(extent);
    blx_assert(end <= coverage->blocks);
    for (size_t page = extent.start_block / PAGE_BLOCKS; (uint64_t)page * PAGE_BLOCKS < end;
         page++) {
        struct blx_extent part = part_in(page, extent);
        if (coverage->pages[page] != NULL)
            count += count_part(coverage->pages[page], part);
        else if (coverage->skip[page] != 0)
            count += part.block_count;
    }
    return count;
}
