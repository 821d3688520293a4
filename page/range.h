/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header Range of a download: "bytes=FIRST-LAST", "bytes=FIRST-" or "bytes=-COUNT". Several
 * ranges in one are not taken, which RFC 9110 allows: then all is sent.
 *
 * Threads: all functions are pure.
 */
#pragma once

#include <stdint.h>

struct page_range {
    uint64_t first, bytes;
};

/* 1: `range` is what is asked for. 0: all is, since `header` is NULL or no range that is taken.
 * -ERANGE: it begins beyond the end. `size` is not 0. */
int page_range_parse(const char *header, uint64_t size, struct page_range *range);
