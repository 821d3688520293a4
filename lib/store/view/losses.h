/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gaps of an image that was read from a damaged chain all the same: ranges that read as zeros,
 * and remarks about the whole image.
 *
 * Threads: one at a time; several workers need a lock of their own around it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct blx_loss {
    uint64_t offset_bytes, bytes; /* zeros in the image; 0 bytes: a remark about all of it */
    char cause[384];
};

/* Begins as zero. */
struct blx_losses {
    struct blx_loss *list; /* owned; once sorted: remarks first, then by offset */
    size_t count;
};

/* -ENOMEM. */
int blx_losses_add(struct blx_losses *losses, uint64_t offset_bytes, uint64_t bytes,
                   const char *cause);

/* Sorts them and joins neighbours with one cause. A remark is kept once. */
void blx_losses_sort(struct blx_losses *losses);

/* Leaves an empty list. */
void blx_losses_done(struct blx_losses *losses);
