/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which blocks of a volume are covered, counted as they come. An agent declares the size of its
 * volume, so that neither memory nor time may follow it: both follow the extents that are added. A
 * page of bits is made when a block of it is covered and freed when all are, and runs of pages that
 * are full are passed over in one step. Private to lib/store.
 *
 * Threads: no shared state. Memory: at most 1 KiB for an extent and 3 bytes for 1,024 declared
 * blocks, and never more than a bitmap would need.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bitmap.h"

struct blx_coverage {
    uint64_t blocks;  /* of the volume */
    uint64_t covered; /* of them */
    size_t page_count;
    uint64_t **pages; /* owned; NULL: none of its blocks is covered, or all are */
    uint32_t *skip;   /* owned; how many pages on one that is not full may be; 0: this one is not */
};

/* -ENOMEM. */
int blx_coverage_init(struct blx_coverage *coverage, uint64_t blocks);

void blx_coverage_done(struct blx_coverage *coverage);

/* The extent must lie within the volume. -ENOMEM; a part of it may be covered then. */
int blx_coverage_add(struct blx_coverage *coverage, struct blx_extent extent);

/* Whether every block of the extent, which must lie within the volume, is covered. */
bool blx_coverage_has(struct blx_coverage *coverage, struct blx_extent extent);

/* How many blocks of the extent, which must lie within the volume, are covered. */
uint64_t blx_coverage_count(const struct blx_coverage *coverage, struct blx_extent extent);
