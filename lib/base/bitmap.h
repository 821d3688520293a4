/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks: how many a size has, runs of them, and bitmaps with a bit for each.
 *
 * A bitmap is an array of 64-bit words; the bit of block b is bit b % 64 of word b / 64. The words
 * may be shared with the kernel programs or with another thread: every function that changes a word
 * does so atomically, and says so. The caller owns the memory. Nothing here allocates, blocks or
 * fails.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A run of blocks. */
struct blx_extent {
    uint64_t start_block;
    uint64_t block_count;
};

static inline uint64_t blx_extent_end(struct blx_extent extent)
{
    return extent.start_block + extent.block_count;
}

/* The blocks that `bytes` bytes reach into; the last one may be partly used. */
static inline uint64_t blx_blocks_of_bytes(uint64_t bytes, unsigned block_shift)
{
    return (bytes >> block_shift) + ((bytes & ((UINT64_C(1) << block_shift) - 1)) != 0);
}

static inline uint64_t blx_bitmap_words(uint64_t blocks)
{
    return blocks / 64 + (blocks % 64 != 0);
}

static inline bool blx_bitmap_test(const uint64_t *words, uint64_t block)
{
    return __atomic_load_n(&words[block / 64], __ATOMIC_RELAXED) >> (block % 64) & 1;
}

/* Sets or clears the extent's bits, each word atomically. */
void blx_bitmap_set(uint64_t *words, struct blx_extent extent);
void blx_bitmap_clear(uint64_t *words, struct blx_extent extent);

/* How many of the first `blocks` bits are set. */
uint64_t blx_bitmap_count(const uint64_t *words, uint64_t blocks);

/*
 * The first run of set bits at or after `from` and before `limit`, at most `max_blocks` long. False
 * if there is none.
 */
bool blx_bitmap_next_run(const uint64_t *words, uint64_t from, uint64_t limit, uint64_t max_blocks,
                         struct blx_extent *run);
