/* SPDX-License-Identifier: Apache-2.0 */
#include "store/view/volume_secret_private.h"

#include <errno.h>

#include "store/checkpoint/manifest_file.h"
#include "store/own_id.h"

void blx_volume_secret_wipe(struct blx_volume_secret *secret)
{
    blx_volume_key_wipe(&secret->key);
}

int blx_volume_secret_find(struct blx_agent_store agent, blx_timestamp checkpoint,
                           const char *volume, const struct blx_keyring *keys,
                           struct blx_volume_secret *secret, struct blx_error *err)
{
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
    const struct blx_key *key = NULL;
    *secret = (struct blx_volume_secret){0};
    int rc = blx_manifest_read(agent, checkpoint, &manifest, err);
    if (rc < 0)
        return rc;
    const struct blx_manifest_volume *found = blx_manifest_find(&manifest, volume);
    if (found == NULL)
        return 0;
    if (blx_manifest_is_carried(&manifest, found))
        return blx_error_set(err, -ENOENT,
                             "the checkpoint %llu was taken without the volume '%s': give one that "
                             "has it",
                             (unsigned long long)checkpoint, volume);
    rc = blx_keyring_choose(keys, &found->key_id, &key, err);
    if (rc < 0 || key == NULL)
        return rc;
    char id[BLX_NAME_BYTES];
    rc = blx_own_id_read(agent, id, err);
    if (rc < 0)
        return rc;
    secret->id = found->key_id;
    return blx_volume_key_derive(key, id, volume, &secret->key, err);
}
