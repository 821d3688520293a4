/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a frame's data is packed: the codecs that blx_frame_pack() and blx_frame_unpack() use.
 * Private to lib/wire.
 *
 * Threads: each thread keeps its own zstd contexts, made at first use and freed with the thread,
 * because making one costs more than packing a small frame.
 */
#pragma once

#include <stddef.h>

#include "wire/frame.h"

/*
 * Packs `bytes` of `data`, with zstd at that level (0: 1, the fastest that packs well), into
 * `packed`, which has room for `bytes`. 0, -ENOSPC if it would not become smaller (always for
 * BLX_CODEC_NONE and for no data), or -ENOMEM.
 */
int blx_codec_pack(enum blx_codec codec, int level, const void *data, size_t bytes, void *packed,
                   size_t *packed_bytes);

/* Unpacks into `data`, which must become exactly `bytes` long: -EBADMSG otherwise; -ENOMEM. */
int blx_codec_unpack(enum blx_codec codec, const void *packed, size_t packed_bytes, void *data,
                     size_t bytes);
