/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gaps of an image that was read from a damaged chain all the same: ranges that read as zeros
 * or have older content, and remarks about the whole image.
 *
 * Threads: one at a time; several workers need a lock of their own around it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* What the image has in place of what is lost. */
enum blx_loss_content {
    BLX_LOSS_ZEROS,
    BLX_LOSS_OLDER, /* of an earlier checkpoint, or of earlier in the pass */
};

struct blx_loss {
    uint64_t offset_bytes, bytes; /* 0 bytes: a remark about the whole image */
    enum blx_loss_content content;
    char cause[384];
};

/* Begins as zero. */
struct blx_losses {
    struct blx_loss *list; /* owned; once sorted: remarks first, then by offset */
    size_t count;
};

/* -ENOMEM. */
int blx_losses_add(struct blx_losses *losses, uint64_t offset_bytes, uint64_t bytes,
                   enum blx_loss_content content, const char *cause);

/* Sorts them and joins neighbours with one cause and content. A remark is kept once. */
void blx_losses_sort(struct blx_losses *losses);

/* Leaves an empty list. */
void blx_losses_done(struct blx_losses *losses);
