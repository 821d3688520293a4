/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/restorer.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/hex.h"
#include "base/io.h"
#include "base/secret_file.h"
#include "base/version.h"
#include "tls/bearer.h"
#include "tls/hardware.h"

enum { STATE_MODE = 0700, NAME_BYTES = 16 };

static int name_file(struct blx_restorer *restorer, const char *state_dir, struct blx_error *err)
{
    uint8_t digest[32];
    char name[2 * NAME_BYTES + 1];
    size_t bytes = 0;
    if (EVP_Q_digest(NULL, "SHA256", NULL, restorer->token.secret, sizeof(restorer->token.secret),
                     digest, &bytes) != 1)
        return blx_error_set(err, -EIO, "cannot make a digest");
    blx_hex_format(digest, NAME_BYTES, name);
    return blx_path_format(restorer->path, sizeof(restorer->path), err, "%s/%s.machine", state_dir,
                           name);
}

static int make_secret(struct blx_restorer *restorer, struct blx_error *err)
{
    struct blx_restore_message *hello = &restorer->hello;
    if (RAND_bytes(hello->machine, sizeof(hello->machine)) != 1)
        return blx_error_set(err, -EIO, "cannot get random numbers");
    return blx_secret_file_write(restorer->path, hello->machine, sizeof(hello->machine), NULL, err);
}

static int take_secret(struct blx_restorer *restorer, struct blx_error *err)
{
    struct blx_restore_message *hello = &restorer->hello;
    BLX_CLEANUP_FREE void *content = NULL;
    size_t bytes = 0;
    struct blx_error why = {0};
    int rc = blx_file_read(restorer->path, sizeof(hello->machine), &content, &bytes, &why);
    if (rc == -ENOENT)
        return make_secret(restorer, err);
    if (rc == 0 && bytes != sizeof(hello->machine))
        rc = blx_error_set(&why, -EBADMSG, "'%s' is damaged: remove it, and make a new token",
                           restorer->path);
    if (rc < 0)
        return blx_error_copy(err, rc, &why);
    memcpy(hello->machine, content, bytes);
    OPENSSL_cleanse(content, bytes);
    restorer->again = true;
    return 0;
}

int blx_restorer_begin(struct blx_restorer *restorer, const char *token, const char *state_dir,
                       const char *address, struct blx_error *err)
{
    *restorer = (struct blx_restorer){.address = address};
    int rc = blx_token_parse(token, &restorer->token, err);
    if (rc == 0)
        rc = blx_mkdir_parents(state_dir, STATE_MODE, err);
    if (rc == 0)
        rc = name_file(restorer, state_dir, err);
    if (rc == 0)
        rc = take_secret(restorer, err);
    /* One that has none can restore all the same, and is refused if it is to take over. */
    if (blx_hardware_identify(BLX_HARDWARE_SYSFS, restorer->hardware, NULL) < 0)
        memset(restorer->hardware, 0, sizeof(restorer->hardware));
    memcpy(restorer->hello.secret, restorer->token.secret, sizeof(restorer->hello.secret));
    snprintf(restorer->hello.software, sizeof(restorer->hello.software), "blxrep %s", BLX_VERSION);
    return rc;
}

int blx_restorer_dial(void *arg, struct blx_conn **conn, struct blx_error *err)
{
    const struct blx_restorer *restorer = arg;
    return blx_bearer_dial(&restorer->token, BLX_TLS_RESTORE, restorer->address, conn, err);
}

void blx_restorer_forget(const struct blx_restorer *restorer)
{
    if (restorer->path[0] != '\0')
        unlink(restorer->path);
}

void blx_restorer_wipe(struct blx_restorer *restorer)
{
    OPENSSL_cleanse(restorer, sizeof(*restorer));
}
