/* SPDX-License-Identifier: Apache-2.0 */
/*
 * XAES-256-GCM (C2SP): AES-256-GCM whose nonce is 192 bits long, so that it can be random: 2^80
 * messages under one key leave a chance of 2^-32 that two have the same one. The first half of the
 * nonce makes a key for the message, with AES-CMAC as a key derivation function (NIST SP 800-108);
 * the other half is the nonce of AES-256-GCM under that key.
 *
 * Threads: no shared state. Nothing here blocks.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { BLX_XAES_KEY_BYTES = 32, BLX_XAES_NONCE_BYTES = 24, BLX_XAES_TAG_BYTES = 16 };

/* Authenticated, but not encrypted: the pieces one behind the other. */
struct blx_xaes_piece {
    const void *data;
    size_t bytes;
};

struct blx_xaes_message {
    const uint8_t *key;   /* BLX_XAES_KEY_BYTES */
    const uint8_t *nonce; /* BLX_XAES_NONCE_BYTES */
    const struct blx_xaes_piece *pieces;
    size_t piece_count;
};

/* Encrypts `bytes` of `data` (at most INT_MAX: -EINVAL) in place. -ENOMEM; -EIO where the library
 * fails. */
int blx_xaes_encrypt(const struct blx_xaes_message *message, void *data, size_t bytes,
                     uint8_t tag[BLX_XAES_TAG_BYTES], struct blx_error *err);

/* Decrypts in place. -EBADMSG where anything is not what was encrypted; `data` is of no use then.
 * -EINVAL, -ENOMEM, -EIO. */
int blx_xaes_decrypt(const struct blx_xaes_message *message, void *data, size_t bytes,
                     const uint8_t tag[BLX_XAES_TAG_BYTES], struct blx_error *err);
