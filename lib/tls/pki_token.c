/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/pki_token_private.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/hex.h"
#include "base/io.h"
#include "base/sys.h"
#include "base/text.h"
#include "tls/certificate_private.h"
#include "tls/pem_private.h"
#include "tls/pki.h"
#include "tls/pki_private.h"
#include "wire/ssl_error.h"

enum { DAY_SECONDS = 24 * 3600 };
_Static_assert(BLX_TOKEN_HASH_BYTES == 2 * SHA256_DIGEST_LENGTH + 1, "HASH");

void blx_token_record_format(const struct blx_token_record *record,
                             char text[BLX_TOKEN_RECORD_BYTES])
{
    snprintf(text, BLX_TOKEN_RECORD_BYTES, "blxrep token 1\n%s\n%" PRId64 "\n%s\n",
             record->agent_id, record->expires_s, record->used ? "used" : "open");
}

int blx_token_record_parse(const char *text, struct blx_token_record *record)
{
    struct blx_token_record read = {.used = false};
    char state[8], again[BLX_TOKEN_RECORD_BYTES];
    if (sscanf(text, "blxrep token 1\n%64s\n%18" SCNd64 "\n%4s", read.agent_id, &read.expires_s,
               state) != 3 ||
        blx_name_check("agent ID", read.agent_id, NULL) < 0)
        return -EBADMSG;
    read.used = strcmp(state, "used") == 0;
    blx_token_record_format(&read, again);
    if (strcmp(again, text) != 0)
        return -EBADMSG;
    *record = read;
    return 0;
}

int blx_pki_token_hash(const void *bytes, size_t count, char text[BLX_TOKEN_HASH_BYTES],
                       struct blx_error *err)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    if (SHA256(bytes, count, digest) == NULL)
        return blx_error_set(err, -EIO, "cannot make a digest: %s", blx_ssl_reason());
    blx_hex_format(digest, sizeof(digest), text);
    return 0;
}

int blx_pki_token_name(const uint8_t secret[BLX_TOKEN_SECRET_BYTES],
                       char name[BLX_TOKEN_NAME_BYTES], struct blx_error *err)
{
    char hash[BLX_TOKEN_HASH_BYTES];
    int rc = blx_pki_token_hash(secret, BLX_TOKEN_SECRET_BYTES, hash, err);
    return rc < 0 ? rc : blx_path_format(name, BLX_TOKEN_NAME_BYTES, err, "tokens/%s", hash);
}

static int read_text(const char *path, char **text, struct blx_error *err)
{
    void *content = NULL;
    size_t bytes = 0;
    int rc = blx_file_read(path, BLX_RESTORE_RECORD_BYTES - 1, &content, &bytes, err);
    if (rc == 0)
        *text = content;
    return rc;
}

int blx_pki_token_read(const struct blx_pki *pki, const char *name, char **text,
                       struct blx_error *err)
{
    char path[PATH_MAX];
    struct blx_error why = {0};
    int rc = blx_pki_path(pki, name, path, err);
    if (rc < 0)
        return rc;
    rc = read_text(path, text, &why);
    if (rc == -ENOENT)
        return blx_error_set(err, -EACCES,
                             "this dispatcher does not know the token: another one made it, a "
                             "newer one of the agent replaced it, it was taken back, or it expired "
                             "long ago; make a new one");
    return rc < 0 ? blx_error_copy(err, rc, &why) : 0;
}

int blx_pki_token_write(const struct blx_pki *pki, const char *name, const char *text,
                        struct blx_error *err)
{
    BLX_CLEANUP_BIO BIO *content = BIO_new(BIO_s_mem());
    if (content == NULL || BIO_puts(content, text) <= 0)
        return blx_error_errno(err, -ENOMEM, "cannot write '%s/%s'", pki->dir, name);
    return blx_pki_write(pki, name, content, BLX_PKI_PRIVATE_MODE, err);
}

static int write_record(const struct blx_pki *pki, const char *name,
                        const struct blx_token_record *record, struct blx_error *err)
{
    char text[BLX_TOKEN_RECORD_BYTES];
    blx_token_record_format(record, text);
    return blx_pki_token_write(pki, name, text, err);
}

static int not_for_joining(const struct blx_pki *pki, const char *name, const char *text,
                           struct blx_error *err)
{
    struct blx_restore_record restore;
    if (blx_restore_record_parse(text, &restore) == 0)
        return blx_error_set(err, -EACCES,
                             "the token is for a restore of '%s': `blxrep agent restore` takes it",
                             restore.grant.agent_id);
    return blx_error_set(err, -EBADMSG, "'%s/%s' is damaged: make a new token", pki->dir, name);
}

int blx_pki_token_look(const struct blx_pki *pki, const uint8_t secret[BLX_TOKEN_SECRET_BYTES],
                       struct blx_token_record *record, struct blx_error *err)
{
    char name[BLX_TOKEN_NAME_BYTES];
    BLX_CLEANUP_FREE char *text = NULL;
    struct blx_token_record read;
    int rc = blx_pki_token_name(secret, name, err);
    if (rc == 0)
        rc = blx_pki_token_read(pki, name, &text, err);
    if (rc < 0)
        return rc;
    if (blx_token_record_parse(text, &read) < 0)
        return not_for_joining(pki, name, text, err);
    if (read.used)
        return blx_error_set(err, -EACCES,
                             "the token of '%s' has been used already: make a new one, and if it "
                             "was not you who used it, revoke '%s' first",
                             read.agent_id, read.agent_id);
    if (read.expires_s <= time(NULL))
        return blx_error_set(err, -EACCES, "the token of '%s' has expired: make a new one",
                             read.agent_id);
    *record = read;
    return 0;
}

int blx_pki_token_use(const struct blx_pki *pki, const uint8_t secret[BLX_TOKEN_SECRET_BYTES],
                      const struct blx_token_record *record, struct blx_error *err)
{
    char name[BLX_TOKEN_NAME_BYTES];
    struct blx_token_record used = *record;
    used.used = true;
    int rc = blx_pki_token_name(secret, name, err);
    return rc < 0 ? rc : write_record(pki, name, &used, err);
}

/* What decides whether a token stays. `kind` NONE: the file is no token. */
struct token_head {
    enum blx_token_kind kind;
    char agent_id[BLX_NAME_BYTES];
    int64_t expires_s;
};

static struct token_head read_head(const char *text)
{
    struct token_head head = {.kind = BLX_TOKEN_NONE};
    struct blx_token_record join;
    struct blx_restore_record restore;
    if (blx_token_record_parse(text, &join) == 0) {
        head.kind = BLX_TOKEN_JOIN;
        head.expires_s = join.expires_s;
        blx_text_set(head.agent_id, join.agent_id);
    } else if (blx_restore_record_parse(text, &restore) == 0) {
        head.kind = BLX_TOKEN_RESTORE;
        head.expires_s = restore.expires_s;
        blx_text_set(head.agent_id, restore.grant.agent_id);
    }
    return head;
}

/* A file that is not a token belongs to no agent. A file that cannot be read may be the token that
 * must not stay, so that is an error. 1: it was the agent's. */
static int remove_if_over(const char *path, const char *agent_id, unsigned kinds,
                          struct blx_error *err)
{
    BLX_CLEANUP_FREE char *text = NULL;
    struct token_head head = {.kind = BLX_TOKEN_NONE};
    struct blx_error why = {0};
    int rc = read_text(path, &text, &why);
    if (rc == -ENOENT)
        return 0;
    if (rc < 0 && rc != -EFBIG)
        return blx_error_copy(err, rc, &why);
    if (rc == 0)
        head = read_head(text);
    bool swept = (head.kind & kinds) != 0 && strcmp(head.agent_id, agent_id) == 0;
    if (head.kind != BLX_TOKEN_NONE && !swept && head.expires_s + DAY_SECONDS > time(NULL))
        return 0;
    if (blx_sys->unlink(path) < 0 && errno != ENOENT)
        return blx_error_errno(err, -errno, "cannot remove '%s'", path);
    return swept;
}

int blx_pki_token_sweep(const struct blx_pki *pki, const char *agent_id, unsigned kinds,
                        unsigned *count, struct blx_error *err)
{
    unsigned swept = 0;
    char folder[PATH_MAX], path[PATH_MAX];
    int rc = blx_pki_path(pki, "tokens", folder, err);
    if (rc < 0)
        return rc;
    BLX_CLEANUP_DIR DIR *dir = opendir(folder);
    if (dir == NULL && errno != ENOENT)
        return blx_error_errno(err, -errno, "cannot read '%s'", folder);
    if (count != NULL)
        *count = 0;
    if (dir == NULL)
        return 0;
    const struct dirent *entry;
    while ((errno = 0, entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        rc = blx_path_format(path, sizeof(path), err, "%s/%s", folder, entry->d_name);
        if (rc == 0)
            rc = remove_if_over(path, agent_id, kinds, err);
        if (rc < 0)
            return rc;
        swept += (unsigned)rc;
    }
    if (errno != 0)
        return blx_error_errno(err, -errno, "cannot read '%s'", folder);
    if (count != NULL)
        *count = swept;
    return blx_fsync_dir(folder, err);
}

int blx_pki_token_begin(const struct blx_pki *pki, const struct blx_pki_authority *ca,
                        const char *agent_id, unsigned swept_kinds, struct blx_token *token,
                        char name[BLX_TOKEN_NAME_BYTES], struct blx_error *err)
{
    char folder[PATH_MAX];
    if (RAND_bytes(token->secret, sizeof(token->secret)) != 1)
        return blx_error_set(err, -EIO, "cannot get random numbers: %s", blx_ssl_reason());
    int rc = blx_certificate_fingerprint(ca->cert, token->ca_fingerprint, err);
    if (rc == 0)
        rc = blx_pki_token_name(token->secret, name, err);
    if (rc == 0)
        rc = blx_pki_path(pki, "tokens", folder, err);
    if (rc == 0)
        rc = blx_pki_make_dir(pki, folder, err);
    return rc < 0 ? rc : blx_pki_token_sweep(pki, agent_id, swept_kinds, NULL, err);
}

static int make_token(const struct blx_pki *pki, const struct blx_pki_authority *ca,
                      const char *agent_id, uint64_t valid_s, struct blx_token *token,
                      struct blx_error *err)
{
    char name[BLX_TOKEN_NAME_BYTES];
    struct blx_token_record record = {.expires_s = (int64_t)time(NULL) + (int64_t)valid_s};
    blx_text_set(record.agent_id, agent_id);
    int rc = blx_pki_token_begin(pki, ca, agent_id, BLX_TOKEN_JOIN, token, name, err);
    return rc < 0 ? rc : write_record(pki, name, &record, err);
}

int blx_pki_make_token(const char *data_dir, const char *agent_id, uint64_t valid_s,
                       char text[BLX_TOKEN_TEXT_BYTES], struct blx_error *err)
{
    struct blx_pki pki = {.lock_fd = -1};
    struct blx_pki_authority ca = {.cert = NULL};
    struct blx_token token;
    int rc = blx_name_check("agent ID", agent_id, err);
    if (rc < 0)
        return rc;
    rc = blx_pki_open(data_dir, &pki, &ca, err);
    if (rc == 0)
        rc = blx_pki_need_key(&pki, &ca, err);
    if (rc == 0)
        rc = make_token(&pki, &ca, agent_id, valid_s, &token, err);
    if (rc == 0)
        rc = blx_token_format(&token, text, err);
    OPENSSL_cleanse(&token, sizeof(token));
    blx_pki_authority_done(&ca);
    blx_pki_close(&pki);
    return rc;
}
