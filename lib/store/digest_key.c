/* SPDX-License-Identifier: Apache-2.0 */
#include "store/digest_key.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "store/layout_private.h"
#include "store/own_id.h"

int blx_digest_key_path(struct blx_agent_store agent, char path[PATH_MAX], struct blx_error *err)
{
    char dir[PATH_MAX];
    int rc = blx_agent_store_path(agent, dir, err);
    return rc < 0 ? rc : blx_path_format(path, PATH_MAX, err, "%s/digest-key", dir);
}

/* 1; 0: there is none; -EBADMSG: it is damaged. */
static int read_key(const char *path, struct blx_key *key, struct blx_error *err)
{
    struct blx_digest_key_disk disk;
    struct blx_error cause = {0};
    void *content = NULL;
    size_t bytes = 0;
    int rc = blx_file_read(path, sizeof(disk), &content, &bytes, &cause);
    if (rc == -ENOENT)
        return 0;
    if (rc < 0 && rc != -EFBIG)
        return blx_error_copy(err, rc, &cause);
    bool good = rc == 0 && bytes == sizeof(disk);
    if (good) {
        memcpy(&disk, content, sizeof(disk));
        size_t field = offsetof(__typeof__(disk), checksum);
        good = blx_le32_get(disk.magic) == BLX_DIGEST_MAGIC && disk.version == BLX_LAYOUT_VERSION &&
               blx_layout_checksum(&disk, sizeof(disk), field) == blx_le64_get(disk.checksum);
        rc = good ? blx_key_set(key, disk.secret, err) : 0;
        OPENSSL_cleanse(&disk, sizeof(disk));
    }
    if (content != NULL)
        OPENSSL_cleanse(content, bytes);
    free(content);
    if (good)
        return rc < 0 ? rc : 1;
    return blx_error_set(err, -EBADMSG,
                         "'%s' is damaged: the next session of the agent makes another one", path);
}

static int make_key(const char *path, struct blx_key *key, struct blx_error *err)
{
    struct blx_digest_key_disk disk = {.magic = blx_le32_of(BLX_DIGEST_MAGIC),
                                       .version = BLX_LAYOUT_VERSION};
    int rc = blx_key_create(key, err);
    if (rc < 0)
        return rc;
    memcpy(disk.secret, key->secret, sizeof(disk.secret));
    disk.checksum =
        blx_le64_of(blx_layout_checksum(&disk, sizeof(disk), offsetof(__typeof__(disk), checksum)));
    rc = blx_file_replace(path, &disk, sizeof(disk), 0600, err);
    OPENSSL_cleanse(&disk, sizeof(disk));
    return rc;
}

int blx_digest_key_take(struct blx_agent_store agent, struct blx_key *key, struct blx_error *err)
{
    char path[PATH_MAX];
    struct blx_error cause = {0};
    int rc = blx_digest_key_path(agent, path, &cause);
    if (rc == 0)
        rc = read_key(path, key, &cause);
    if (rc == 0 || rc == -EBADMSG)
        return make_key(path, key, err);
    return rc < 0 ? blx_error_copy(err, rc, &cause) : 0;
}

int blx_digest_key_find(struct blx_agent_store agent, const char *volume,
                        struct blx_volume_key *key, struct blx_error *err)
{
    char path[PATH_MAX], id[BLX_NAME_BYTES];
    BLX_CLEANUP_SECRET_KEY struct blx_key secret = {0};
    int rc = blx_digest_key_path(agent, path, err);
    if (rc == 0)
        rc = read_key(path, &secret, err);
    if (rc <= 0)
        return rc;
    rc = blx_own_id_read(agent, id, err);
    if (rc == 0)
        rc = blx_volume_key_derive(&secret, id, volume, key, err);
    return rc < 0 ? rc : 1;
}
