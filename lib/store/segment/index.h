/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An index maps each block to the frame with its newest content: sorted, disjoint entries. Entries
 * of any order and overlap are added, each with a rank, and flattened once: if several cover a
 * block, the highest rank wins. A segment is flattened when it is sealed (rank: order of arrival),
 * a chain of segments when it is restored (rank: age). One algorithm, O(n log n), serves both.
 *
 * Threads: none of its own; an index belongs to one thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bitmap.h"
#include "base/error.h"

struct blx_index_entry {
    struct blx_extent extent;
    uint64_t frame_offset; /* in its segment */
    uint32_t frame_bytes;
    uint32_t data_block; /* where the extent's data begins within the frame's unpacked data, in
                            blocks; 0 if zero */
    uint32_t segment;    /* which segment, in the caller's numbering; 0 inside a segment */
    uint32_t rank;       /* higher wins */
    uint32_t digest;     /* where the digests of its blocks begin, in digests: in the segment's
                            table, or in the open one's log (digest_log_private.h) */
    bool zero;
    bool has_digests; /* otherwise `digest` is 0 */
};

struct blx_index {
    struct blx_index_entry *entries; /* owned */
    size_t count;
    size_t capacity;
};

void blx_index_done(struct blx_index *index);

/* Appends; joins with the last entry if it simply goes on in the same frame. -ENOMEM. */
int blx_index_add(struct blx_index *index, const struct blx_index_entry *entry);

/* The part of `entry` within [start, end), which must lie in it. */
struct blx_index_entry blx_index_part(const struct blx_index_entry *entry, uint64_t start,
                                      uint64_t end);

/* Makes the entries sorted by block and disjoint, as said above. -ENOMEM; the index is then
 * unchanged. */
int blx_index_flatten(struct blx_index *index);

/* The first entry of a flattened index that covers `block` or comes after it; NULL after the last.
 */
const struct blx_index_entry *blx_index_find(const struct blx_index *index, uint64_t block);

/* The sum of the entries' blocks of a flattened index. */
uint64_t blx_index_blocks(const struct blx_index *index);
