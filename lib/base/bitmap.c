/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bitmap.h"

static uint64_t load(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

/* The bits of word `index` that [start, end) covers. */
static uint64_t word_mask(uint64_t index, uint64_t start, uint64_t end)
{
    uint64_t first = index * 64;
    uint64_t low = start > first ? start - first : 0;
    uint64_t high = end < first + 64 ? end - first : 64;
    uint64_t mask = ~UINT64_C(0) << low;
    return high == 64 ? mask : mask & ((UINT64_C(1) << high) - 1);
}

void blx_bitmap_set(uint64_t *words, struct blx_extent extent)
{
    uint64_t end = blx_extent_end(extent);
    for (uint64_t index = extent.start_block / 64; index * 64 < end; index++)
        __atomic_fetch_or(&words[index], word_mask(index, extent.start_block, end),
                          __ATOMIC_SEQ_CST);
}

void blx_bitmap_clear(uint64_t *words, struct blx_extent extent)
{
    uint64_t end = blx_extent_end(extent);
    for (uint64_t index = extent.start_block / 64; index * 64 < end; index++)
        __atomic_fetch_and(&words[index], ~word_mask(index, extent.start_block, end),
                           __ATOMIC_SEQ_CST);
}

uint64_t blx_bitmap_count(const uint64_t *words, uint64_t blocks)
{
    uint64_t count = 0;
    for (uint64_t index = 0; index * 64 < blocks; index++) {
        uint64_t bits = load(&words[index]);
        if (bits != 0) /* a word is nearly always empty, and counting takes longer than looking */
            count += (uint64_t)__builtin_popcountll(bits & word_mask(index, 0, blocks));
    }
    return count;
}

/* The first bit equal to `wanted` in [from, limit), or `limit`. */
static uint64_t find_bit(const uint64_t *words, uint64_t from, uint64_t limit, bool wanted)
{
    for (uint64_t index = from / 64; index * 64 < limit; index++) {
        uint64_t word = wanted ? load(&words[index]) : ~load(&words[index]);
        word &= word_mask(index, from, limit);
        if (word != 0)
            return index * 64 + (uint64_t)__builtin_ctzll(word);
    }
    return limit;
}

bool blx_bitmap_next_run(const uint64_t *words, uint64_t from, uint64_t limit, uint64_t max_blocks,
                         struct blx_extent *run)
{
    if (from >= limit)
        return false;
    uint64_t start = find_bit(words, from, limit, true);
    if (start == limit)
        return false;
    uint64_t stop = limit - start > max_blocks ? start + max_blocks : limit;
    *run = (struct blx_extent){start, find_bit(words, start, stop, false) - start};
    return true;
}
