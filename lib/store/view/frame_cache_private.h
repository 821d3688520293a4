/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How views use the frame cache (frame_cache.h).
 *
 *     get ──missing──► LOADING ──load()──► READY ──put──► in the cache until others need the room
 *                         └──────failed──► forgotten; the next get tries again
 *
 * Private to lib/store. Threads: any; load() runs in the caller's thread, without a lock.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/view/frame_cache.h"
#include "store/view/stored_frame_private.h"

/* A run of blocks that a frame has data of. */
struct blx_cached_extent {
    uint64_t start_block;
    uint32_t block_count;
    uint32_t data_block; /* where its data begins */
};

struct blx_frame_key {
    uint64_t view; /* blx_frame_cache_new_view() */
    uint64_t frame_offset;
    uint32_t segment;
};

/* What load() fills. Its buffers may have memory of frames that were forgotten, to be used again or
 * exchanged: to the process's allocator, frames that come and go would be holes of all sizes. */
struct blx_cached_content {
    struct blx_stored_bytes data;   /* owned */
    struct blx_stored_bytes packed; /* owned; of no use after load() */
    size_t data_bytes;
    struct blx_cached_extent *extents; /* owned; ascending */
    uint32_t extent_count;
    uint64_t seq; /* of the frame, for messages */
};

struct blx_cached_frame;

/* A number that no other view of the cache has. */
uint64_t blx_frame_cache_new_view(struct blx_frame_cache *cache);

/*
 * The frame, to be given back by _put(). If it is not there load(arg, content, err) reads it; its
 * error is the call's, and other threads that wait then try themselves. -ENOMEM.
 */
int blx_frame_cache_get(struct blx_frame_cache *cache, const struct blx_frame_key *key,
                        int (*load)(void *arg, struct blx_cached_content *content,
                                    struct blx_error *err),
                        void *arg, struct blx_cached_frame **frame, struct blx_error *err);
void blx_frame_cache_put(struct blx_frame_cache *cache, struct blx_cached_frame *frame);

/* Constant as long as the frame is not put back. */
const struct blx_cached_content *blx_cached_frame_content(const struct blx_cached_frame *frame);

/* Forgets a view's frames. None of them may be in use. */
void blx_frame_cache_drop(struct blx_frame_cache *cache, uint64_t view);

/* Three quarters of the cache's memory, for blocks without their frames (stretch_private.h): one
 * caller has them at a time, and the cache does with the rest until they are returned. False:
 * somebody else has them. */
size_t blx_frame_cache_spare_bytes(const struct blx_frame_cache *cache);
bool blx_frame_cache_lend(struct blx_frame_cache *cache);
void blx_frame_cache_return(struct blx_frame_cache *cache);

/* For tests: what is in memory now. */
size_t blx_frame_cache_memory_bytes(struct blx_frame_cache *cache);
