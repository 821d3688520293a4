/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unpacked frames in memory, for one or more views (view.h). A frame is read by the first thread
 * that needs it; others that need the same one wait for it. What was used longest ago goes first.
 *
 * Memory: `max_bytes`, and beyond that only frames that are being read from at the moment, and two
 * buffers for each shard of 4 MiB (16 at most) that wait for the next frame.
 *
 * Threads: any. The cache is to outlive its views.
 */
#pragma once

#include <stddef.h>

struct blx_frame_cache;

enum { BLX_FRAME_CACHE_DEFAULT_BYTES = 64 << 20 };

/* NULL: no memory. */
struct blx_frame_cache *blx_frame_cache_new(size_t max_bytes);

/* NULL is allowed. */
void blx_frame_cache_free(struct blx_frame_cache *cache);
