/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A flattened index in a tenth of its memory, to be kept: about 6 bytes an entry of a full pass,
 * 12 of scattered changes, where an index (segment/index.h) takes 48.
 *
 *     marks    every 32nd entry's first block, and where it begins in the bytes
 *     bytes    each entry as numbers of variable length, most of them as the difference to the
 *              entry before it; the first one after a mark stands for itself
 *
 * Entries are appended in the order of their blocks and found by bisection among the marks. Each
 * entry's `segment` is kept as it is, its rank is not.
 *
 * Private to lib/store. Threads: immutable once it is made.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/segment/index.h"

struct blx_block_mark {
    uint64_t start_block;
    uint64_t offset; /* in the bytes */
};

/* Begins as zero. */
struct blx_block_map {
    uint8_t *bytes; /* owned */
    size_t used, room;
    struct blx_block_mark *marks; /* owned */
    size_t mark_count;
    size_t entry_count;
    struct blx_index_entry last; /* that was appended */
};

/* Appends all entries of a flattened index, whose blocks come after those that are there. -ENOMEM;
 * the map is then only good for _done(). */
int blx_block_map_add(struct blx_block_map *map, const struct blx_index *index);

/* The first entry that covers `block` or comes after it; false: there is none. Its rank is 0. */
bool blx_block_map_find(const struct blx_block_map *map, uint64_t block,
                        struct blx_index_entry *entry);

/* What it takes in memory. */
size_t blx_block_map_memory_bytes(const struct blx_block_map *map);

void blx_block_map_done(struct blx_block_map *map);
