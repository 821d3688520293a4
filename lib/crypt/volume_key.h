/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the blocks of one volume are encrypted and digested with: keys derived from the agent's
 * (HKDF), for this agent's volume of this name alone. So a frame, or a digest, that is put in
 * another volume's place, or another agent's, is found to be wrong though both have one key.
 *
 * Threads: filled by one thread, then only read.
 */
#pragma once

#include "crypt/key.h"
#include "crypt/xaes.h"

struct blx_volume_key {
    uint8_t encryption[BLX_XAES_KEY_BYTES];
    uint8_t digest[2 * BLX_KEY_BYTES];
    struct blx_key_id id; /* of the key that it was derived from */
};

/* -EIO. */
int blx_volume_key_derive(const struct blx_key *key, const char *agent_id, const char *volume,
                          struct blx_volume_key *derived, struct blx_error *err);

/* NULL is allowed. */
void blx_volume_key_wipe(struct blx_volume_key *key);
