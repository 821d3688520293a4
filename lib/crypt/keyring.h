/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys that a restore was given.
 *
 * Threads: filled by one thread, then only read.
 */
#pragma once

#include <stddef.h>

#include "crypt/key.h"

enum { BLX_KEYRING_MAX = 64 };

/* In place, so that no copy of a key is left behind in memory that was given back. */
struct blx_keyring {
    struct blx_key keys[BLX_KEYRING_MAX];
    size_t count;
};

/* Wipes all keys. */
void blx_keyring_done(struct blx_keyring *ring);

/* Reads a key file into it; one that is there already is fine. -E2BIG, or as blx_key_read(). Blocks
 * on the disk. */
int blx_keyring_add(struct blx_keyring *ring, const char *path, struct blx_error *err);

/*
 * The key of what is encrypted with `id` (none: it is not encrypted, *key is NULL then). -ENOKEY
 * where it is missing, with its id; and where keys were given for what is not encrypted: who gives
 * one wants nothing restored that somebody without the key could have made. `ring` may be NULL.
 */
int blx_keyring_choose(const struct blx_keyring *ring, const struct blx_key_id *id,
                       const struct blx_key **key, struct blx_error *err);
