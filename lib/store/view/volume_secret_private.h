/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key that a checkpoint's volume is read with: restores and views begin here. Private to
 * lib/store.
 *
 * Threads: any. Waits for the disk.
 */
#pragma once

#include "base/cleanup.h"
#include "base/timestamp.h"
#include "crypt/keyring.h"
#include "crypt/volume_key.h"
#include "store/store.h"

struct blx_volume_secret {
    struct blx_key_id id;      /* that all frames have; none: they are not encrypted */
    struct blx_volume_key key; /* unless `id` is none */
};

void blx_volume_secret_wipe(struct blx_volume_secret *secret);
#define BLX_CLEANUP_VOLUME_SECRET BLX_CLEANUP(blx_volume_secret_wipe)

/*
 * All frames of a chain have the key that its newest checkpoint names. -ENOENT if the checkpoint
 * was taken without the volume, though it carries the chain on: what is stored of it is not of that
 * instant. A volume that it does not know at all has no secret: the plan says so, with those that
 * there are. -ENOKEY as blx_keyring_choose().
 */
int blx_volume_secret_find(struct blx_agent_store agent, blx_timestamp checkpoint,
                           const char *volume, const struct blx_keyring *keys,
                           struct blx_volume_secret *secret, struct blx_error *err);

/* NULL if the frames are not encrypted. */
static inline const struct blx_volume_key *blx_volume_secret_key(
    const struct blx_volume_secret *secret)
{
    return blx_key_id_is_none(&secret->id) ? NULL : &secret->key;
}
