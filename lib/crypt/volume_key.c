/* SPDX-License-Identifier: Apache-2.0 */
#include "crypt/volume_key.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>

/* "purpose NUL agent NUL volume", which is unambiguous because names have no NUL. */
static int expand(const struct blx_key *key, const char *purpose, const char *agent_id,
                  const char *volume, uint8_t *out, size_t out_bytes, struct blx_error *err)
{
    char info[256];
    int length = snprintf(info, sizeof(info), "%s%c%s%c%s", purpose, '\0', agent_id, '\0', volume);
    if (length < 0 || (size_t)length >= sizeof(info))
        return blx_error_set(err, -EINVAL, "the volume's name '%.80s' is too long", volume);
    return blx_key_expand(key->secret, info, (size_t)length, out, out_bytes, err);
}

int blx_volume_key_derive(const struct blx_key *key, const char *agent_id, const char *volume,
                          struct blx_volume_key *derived, struct blx_error *err)
{
    struct blx_volume_key made = {.id = key->id};
    int rc = expand(key, "blxrep frames 1", agent_id, volume, made.encryption,
                    sizeof(made.encryption), err);
    if (rc == 0)
        rc = expand(key, "blxrep digests 1", agent_id, volume, made.digest, sizeof(made.digest),
                    err);
    if (rc == 0)
        *derived = made;
    blx_volume_key_wipe(&made);
    return rc;
}

void blx_volume_key_wipe(struct blx_volume_key *key)
{
    if (key != NULL)
        OPENSSL_cleanse(key, sizeof(*key));
}
