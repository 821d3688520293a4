/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys that encrypt and digest the blocks of one volume. They are derived (HKDF) from the
 * agent's key, for this agent's volume of this name alone. So if a frame or a digest is put in the
 * place of another volume's, or of another agent's with the same key, the fraud is found.
 *
 * Threads: one thread fills it, then it is only read.
 */
#pragma once

#include "crypt/key.h"
#include "crypt/xaes.h"

struct blx_volume_key {
    uint8_t encryption[BLX_XAES_KEY_BYTES];
    uint8_t digest[2 * BLX_KEY_BYTES];
    struct blx_key_id id; /* of the key that the others were derived from */
};

/* -EIO. */
int blx_volume_key_derive(const struct blx_key *key, const char *agent_id, const char *volume,
                          struct blx_volume_key *derived, struct blx_error *err);

/* NULL is allowed. */
void blx_volume_key_wipe(struct blx_volume_key *key);
