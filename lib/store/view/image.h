/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stored content of a volume, as one image that can be read block by block: the chain of its
 * last checkpoint and the segments after it, flattened into one index. Blocks that no frame holds
 * are zero. Made by blx_agent_writer_open_image(); later frames are not in it.
 *
 * Encrypted frames cannot be read here. The image of a session with a key has a block's keyed
 * digest in place of its data, which the frame carries (crypt/block_digest.h).
 *
 * It is a view (view.h): frames are read, checked and unpacked as they are needed, and the last few
 * stay in memory. The last checkpoint is held as long as the image is open. Memory: the view's maps
 * and plans, and BLX_IMAGE_CACHE_BYTES.
 *
 * Threads: one at a time. Waits for the disk, and after a window's end for its plan.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"

enum { BLX_IMAGE_CACHE_BYTES = 8 << 20 };

struct blx_image;

/* NULL is allowed. */
void blx_image_close(struct blx_image *image);

uint64_t blx_image_size_bytes(const struct blx_image *image);
unsigned blx_image_block_shift(const struct blx_image *image);

/* log2 of the bytes that blx_image_read() gives for a block: the block's own, or a digest's. */
unsigned blx_image_unit_shift(const struct blx_image *image);

/*
 * Reads `count` blocks, or their digests, from `block` on into `buffer`. Blocks beyond the image's
 * end read as zero. -EBADMSG if one of them is in a damaged frame, one of another key, or one that
 * cannot be read, with the segment's name, or if the last checkpoint lacks it and no later frame
 * has it; -ENOMEM; the disk's errors, if a window has to be planned.
 */
int blx_image_read(struct blx_image *image, uint64_t block, uint32_t count, void *buffer,
                   struct blx_error *err);
