/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a checkpoint changed, as its indexes and the headers of its frames tell it. Nothing is
 * unpacked or decrypted: a frame says how many bytes of data it has and how many they were packed
 * to, and each of its blocks counts as packed to that share.
 *
 * All figures are bytes of blocks, over all volumes of the checkpoint; "packed" ones are what these
 * took in frames. A base adds nothing, because it replaces nothing. A block that lies in two
 * segments of one checkpoint counts in each of them.
 *
 * Threads: a value.
 */
#pragma once

#include <stdint.h>

struct blx_change {
    uint64_t data_bytes;    /* that were not zero, before the checkpoint */
    uint64_t hard_bytes;    /* of these: did not pack */
    uint64_t changed_bytes; /* all that the checkpoint has */
    uint64_t zeroed_bytes;  /* zeros over data */
    uint64_t fresh_bytes;   /* data over zeros */
    uint64_t fresh_hard_bytes;
    uint64_t replaced_bytes;                          /* data over data */
    uint64_t packed_before_bytes, packed_after_bytes; /* the replaced ones */
    uint64_t hardened_bytes; /* of the replaced ones: packed well, and no longer do */
};

enum { BLX_CHANGE_FIGURES = 10 };
_Static_assert(sizeof(struct blx_change) == BLX_CHANGE_FIGURES * sizeof(uint64_t), "figures");

/* A part in percent, rounded down; 0 of nothing is 0. A file may claim a part that is larger than
 * the whole: that is all of it. */
static inline unsigned blx_change_percent(uint64_t part, uint64_t whole)
{
    if (whole == 0)
        return 0;
    return part >= whole ? 100 : (unsigned)((double)part * 100 / (double)whole);
}
