/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What makes a frame an encrypted one: the parts of blx_frame_pack() and blx_frame_parse() that
 * know of keys. Private to lib/wire; frame.h has the layout.
 *
 * Threads: no shared state. Nothing here blocks.
 */
#pragma once

#include "wire/frame.h"

/* What lies between the extents and the payload of a frame with `data_bytes` of data. */
size_t blx_frame_encryption_bytes(uint32_t data_bytes, unsigned block_shift);

/* Fills key_id, digests and is_ciphertext of a frame that has just this part. -EBADMSG where it
 * names no key. */
int blx_frame_encryption_parse(struct blx_frame *frame, struct blx_error *err);

/*
 * Encrypts a packed frame: header, extents and a payload of `payload_bytes` are there, seq and
 * checksum are zero. Makes the digests of the content's data. -ENOMEM, -EIO.
 */
int blx_frame_encrypt(const struct blx_frame_content *content, uint8_t *bytes,
                      uint32_t payload_bytes, struct blx_error *err);
