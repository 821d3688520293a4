/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys that a restore was given.
 *
 * Threads: one thread fills it, then it is only read.
 */
#pragma once

#include <stddef.h>

#include "crypt/key.h"

enum { BLX_KEYRING_MAX = 64 };

/* The keys lie in the struct, so that no copy of a key remains in memory that was freed. */
struct blx_keyring {
    struct blx_key keys[BLX_KEYRING_MAX];
    size_t count;
};

/* Wipes all keys. */
void blx_keyring_done(struct blx_keyring *ring);

/* Reads a key file into it. A key that it has already is fine. -E2BIG, or as blx_key_read(). Blocks
 * on the disk. */
int blx_keyring_add(struct blx_keyring *ring, const char *path, struct blx_error *err);

/*
 * The key for data that is encrypted with the key `id`; if `id` is none the data is not encrypted
 * and *key becomes NULL. -ENOKEY if the key is missing; the message has its id. -ENOKEY also if
 * keys were given and the data is not encrypted: whoever gives a key wants nothing restored that
 * somebody without the key could have made. `ring` may be NULL.
 */
int blx_keyring_choose(const struct blx_keyring *ring, const struct blx_key_id *id,
                       const struct blx_key **key, struct blx_error *err);
