/* SPDX-License-Identifier: Apache-2.0 */
#include "crypt/keyring.h"

#include <errno.h>
#include <openssl/crypto.h>

void blx_keyring_done(struct blx_keyring *ring)
{
    OPENSSL_cleanse(ring, sizeof(*ring));
}

static const struct blx_key *find(const struct blx_keyring *ring, const struct blx_key_id *id)
{
    for (size_t i = 0; i < ring->count; i++) {
        if (blx_key_id_equal(&ring->keys[i].id, id))
            return &ring->keys[i];
    }
    return NULL;
}

int blx_keyring_add(struct blx_keyring *ring, const char *path, struct blx_error *err)
{
    BLX_CLEANUP_SECRET_KEY struct blx_key key = {0};
    int rc = blx_key_read(path, &key, err);
    if (rc < 0)
        return rc;
    if (find(ring, &key.id) != NULL)
        return 0;
    if (ring->count == BLX_KEYRING_MAX)
        return blx_error_set(err, -E2BIG, "more than %d keys", BLX_KEYRING_MAX);
    ring->keys[ring->count++] = key;
    return 0;
}

int blx_keyring_choose(const struct blx_keyring *ring, const struct blx_key_id *id,
                       const struct blx_key **key, struct blx_error *err)
{
    char text[BLX_KEY_ID_TEXT_BYTES];
    size_t count = ring != NULL ? ring->count : 0;
    const struct blx_key *found = count > 0 ? find(ring, id) : NULL;
    blx_key_id_format(id, text);
    if (blx_key_id_is_none(id) && count > 0)
        return blx_error_set(err, -ENOKEY,
                             "it is not encrypted, though a key was given: leave --key out if "
                             "that is what you expect");
    if (!blx_key_id_is_none(id) && found == NULL)
        return blx_error_set(err, -ENOKEY,
                             "it is encrypted with the key %s: give %s with --key=FILE", text,
                             count > 0 ? "that one" : "it");
    *key = found;
    return 0;
}
