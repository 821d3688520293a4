/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stored content of a volume, as one image that can be read block by block: the chain of its
 * last checkpoint and the segments after it, flattened into one index. Blocks that no frame holds
 * are zero. Made by blx_agent_writer_open_image(); later frames are not in it. That of a checkpoint
 * alone, for a restore that compares, is made here.
 *
 * The image of a session with a key, or with digests, has a block's keyed digest in place of its
 * data (crypt/block_digest.h): from the segment's table, if it has one. Otherwise from inside the
 * encrypted frame, or made of the plain frame's data.
 *
 * It is a view (view.h): frames are read, checked and unpacked as they are needed, and the last few
 * stay in memory. The last checkpoint is held as long as the image is open. Memory: at most
 * BLX_IMAGE_MEMORY_BYTES, whatever the disk's size: the view's maps, the plan of a window, and the
 * cache.
 *
 * Threads: one at a time. Waits for the disk, and after a window's end for its plan.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "base/timestamp.h"
#include "crypt/volume_key.h"
#include "store/store.h"
#include "wire/message.h"

enum {
    BLX_IMAGE_CACHE_BYTES = 8 << 20,
    BLX_IMAGE_MAP_BYTES = 8 << 20,
    BLX_IMAGE_MAX_ENTRIES = 1 << 16, /* of a window's plan, some 150 bytes each */
    BLX_IMAGE_MEMORY_BYTES = 64 << 20,
};

/* Where the digests of an image come from. */
enum blx_image_origin {
    BLX_IMAGE_FROM_TABLES, /* from the tables, as far as there are some */
    BLX_IMAGE_FROM_FRAMES, /* from the frames alone: whatever an agent once said of them */
};

struct blx_image;

/* Of a checkpoint's volume, as digests; by `key_id` of the encrypted frames, or made with `key`,
 * which is copied (NULL: the frames are encrypted). Errors as blx_view_open() has them. */
int blx_image_open_checkpoint(struct blx_agent_store agent, blx_timestamp checkpoint,
                              const char *volume, const struct blx_key_id *key_id,
                              const struct blx_volume_key *key, struct blx_image **image,
                              struct blx_error *err);

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

/*
 * The answer to a question of a rescan, or of a restore that compares. A block that cannot be read
 * spoils its digest alone; the first reason is in `damage`, whose code is 0 if there is none. The
 * request must end within the image. Errors as blx_image_read(), but not -EBADMSG; -EIO.
 */
int blx_image_digest(struct blx_image *image, const struct blx_digest_request *request,
                     struct blx_digests *digests, struct blx_error *damage, struct blx_error *err);
