/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is stored of a volume, as one image that can be read block by block: the chain of its last
 * checkpoint and the segments behind it, flattened into one index. What no frame holds is zero.
 * Made by blx_agent_writer_open_image(); later frames are not in it.
 *
 * Encrypted frames cannot be read here. The image of a session with a key has in place of a block's
 * data its keyed digest, which the frame carries (crypt/block_digest.h).
 *
 * Frames are read, checked and unpacked as they are needed; the last few are kept. Memory: the
 * index (about 50 bytes an extent) and at most BLX_IMAGE_FRAMES MiB, usually a quarter of it.
 *
 * Threads: one at a time. Blocks on the disk. Needs no lock: sealed segments do not change.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"

enum { BLX_IMAGE_FRAMES = 8 };

struct blx_image;

/* NULL is allowed. */
void blx_image_close(struct blx_image *image);

uint64_t blx_image_size_bytes(const struct blx_image *image);
unsigned blx_image_block_shift(const struct blx_image *image);

/* log2 of the bytes that blx_image_read() gives for a block: the block's own, or a digest's. */
unsigned blx_image_unit_shift(const struct blx_image *image);

/*
 * Reads `count` blocks, or their digests, from `block` on into `buffer`. Blocks behind the image's
 * end read as zero. -EBADMSG where one of them is in a damaged frame, one of another key, or one
 * that cannot be read, with the segment's name, or is lacking in the last checkpoint and in what
 * came behind it; -ENOMEM.
 */
int blx_image_read(struct blx_image *image, uint64_t block, uint32_t count, void *buffer,
                   struct blx_error *err);
