/* SPDX-License-Identifier: Apache-2.0 */
/*
 * XAES-256-GCM (C2SP): AES-256-GCM with a nonce of 192 bits, which is long enough to be random:
 * among 2^80 messages under one key the chance that two have the same nonce is 2^-32. From the
 * first half of the nonce a key for the message is derived, with AES-CMAC (NIST SP 800-108); the
 * other half is the nonce of AES-256-GCM under that key.
 *
 * Threads: no shared state. Nothing here blocks.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { BLX_XAES_KEY_BYTES = 32, BLX_XAES_NONCE_BYTES = 24, BLX_XAES_TAG_BYTES = 16 };

/* Data that is authenticated but not encrypted: the pieces, joined in this order. */
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

/* Encrypts `bytes` of `data` (at most INT_MAX: -EINVAL) in place. -ENOMEM; -EIO if the library
 * fails. */
int blx_xaes_encrypt(const struct blx_xaes_message *message, void *data, size_t bytes,
                     uint8_t tag[BLX_XAES_TAG_BYTES], struct blx_error *err);

/* Decrypts in place. -EBADMSG if anything differs from what was encrypted; then `data` is useless.
 * -EINVAL, -ENOMEM, -EIO. */
int blx_xaes_decrypt(const struct blx_xaes_message *message, void *data, size_t bytes,
                     const uint8_t tag[BLX_XAES_TAG_BYTES], struct blx_error *err);
