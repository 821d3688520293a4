/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encrypted frames: the parts of blx_frame_pack() and blx_frame_parse() that know keys. Private to
 * lib/wire; frame.h has the layout.
 *
 * Threads: no shared state. Nothing here blocks.
 */
#pragma once

#include "wire/frame.h"

/* The bytes between the extents and the payload of a frame with `data_bytes` of data. */
size_t blx_frame_encryption_bytes(uint32_t data_bytes, unsigned block_shift);

/* Fills key_id, digests and is_ciphertext of a frame that has this part. -EBADMSG if it names no
 * key. */
int blx_frame_encryption_parse(struct blx_frame *frame, struct blx_error *err);

/*
 * Encrypts a packed frame, whose header, extents and payload of `payload_bytes` are in place, and
 * whose seq and checksum are zero. Makes the digests of the content's data. -ENOMEM, -EIO.
 */
int blx_frame_encrypt(const struct blx_frame_content *content, uint8_t *bytes,
                      uint32_t payload_bytes, struct blx_error *err);
