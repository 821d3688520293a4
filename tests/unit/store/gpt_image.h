/* SPDX-License-Identifier: Apache-2.0 */
/* Small images with a GPT, made and looked at by the words of UEFI, without the code under test. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { GPT_IMAGE_ENTRIES = 128, GPT_IMAGE_MAX_BYTES = 4 << 20 };

struct gpt_image {
    uint8_t *bytes; /* GPT_IMAGE_MAX_BYTES, owned */
    uint32_t sector_bytes;
    uint64_t sectors;
};

/* A disk of `sectors` (at least 128) with an MBR, both copies, and two partitions whose every byte
 * is set: from sector 64, and up to the last one that a partition may have. */
void gpt_image_make(struct gpt_image *image, uint32_t sector_bytes, uint64_t sectors);
void gpt_image_done(struct gpt_image *image);

/* Fields of the first copy; gpt_image_seal() makes the checksums of both right again. */
void gpt_image_put32(struct gpt_image *image, unsigned at, uint32_t value);
void gpt_image_put64(struct gpt_image *image, unsigned at, uint64_t value);
void gpt_image_put_partition(struct gpt_image *image, unsigned number, uint64_t first,
                             uint64_t last);
void gpt_image_seal(struct gpt_image *image);

/* To a file, which the disk's growth makes longer; and from one, with its whole length. */
void gpt_image_save(const struct gpt_image *image, const char *path, uint64_t sectors);
void gpt_image_load(struct gpt_image *image, const char *path, uint32_t sector_bytes);

/* Whether a copy is whole: 1 is the first one's sector, others are the second one's. */
bool gpt_image_copy_is_whole(const struct gpt_image *image, uint64_t sector);
uint64_t gpt_image_get64(const struct gpt_image *image, uint64_t sector, unsigned at);
