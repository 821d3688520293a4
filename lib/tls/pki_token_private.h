/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dispatcher's side of tokens: DIR/pki/tokens/HASH. HASH is the SHA-256 of the secret in
 * hexadecimal, so that whoever reads the folder cannot use it. The file of a token for joining has
 * four lines:
 *
 *     blxrep token 1
 *     web1                 the agent's ID
 *     1795380960           when it expires, seconds since 1970 by the dispatcher's clock
 *     open                 or "used"
 *
 * That of a token for a restore has seven:
 *
 *     blxrep restore token 1
 *     web1
 *     1795380960           the same; once it is used, a day after it was used last
 *     20261122203603       the checkpoint
 *     volumes vda vdb      those that it gives
 *     open                 or the ID of the machine that uses it, and then perhaps "done": the
 *                          SHA-256 of the machine's secret in hexadecimal
 *     reads                the right that it gives
 *
 * A used or expired token stays for a day, so that whoever comes with it is told why it is refused.
 * Private to lib/tls.
 *
 * Threads: no shared state. All functions but the parser wait for the disk.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/name.h"
#include "tls/pki_folder_private.h"
#include "tls/pki_restore.h"
#include "tls/pki_private.h"
#include "tls/token.h"

enum {
    BLX_TOKEN_RECORD_BYTES = 128, /* at most, with a NUL */
    BLX_TOKEN_HASH_BYTES = 65,    /* a SHA-256 as text */
    BLX_TOKEN_NAME_BYTES = sizeof("tokens/") + BLX_TOKEN_HASH_BYTES,
    BLX_RESTORE_RECORD_BYTES = 512 + BLX_MAX_VOLUMES * (BLX_NAME_BYTES + 1),
};

struct blx_token_record {
    char agent_id[BLX_NAME_BYTES];
    int64_t expires_s; /* since 1970 */
    bool used;
};

/* Writes the text; the buffer is always large enough. */
void blx_token_record_format(const struct blx_token_record *record,
                             char text[BLX_TOKEN_RECORD_BYTES]);

/* Accepts only what blx_token_record_format() writes; -EBADMSG. */
int blx_token_record_parse(const char *text, struct blx_token_record *record);

enum blx_restore_use {
    BLX_RESTORE_OPEN, /* no machine has shown it yet */
    BLX_RESTORE_USED, /* one machine may show it again */
    BLX_RESTORE_DONE, /* that one has all that it wanted */
};

struct blx_restore_record {
    struct blx_restore_grant grant;
    int64_t expires_s; /* since 1970 */
    enum blx_restore_use use;
    char machine[BLX_TOKEN_HASH_BYTES]; /* "" if it is open */
};

/* As above. */
int blx_restore_record_format(const struct blx_restore_record *record,
                              char text[BLX_RESTORE_RECORD_BYTES]);
int blx_restore_record_parse(const char *text, struct blx_restore_record *record);

/* "tokens/HASH" of these 20 bytes; and HASH alone, of any bytes. */
int blx_pki_token_name(const uint8_t secret[BLX_TOKEN_SECRET_BYTES],
                       char name[BLX_TOKEN_NAME_BYTES], struct blx_error *err);
int blx_pki_token_hash(const void *bytes, size_t count, char text[BLX_TOKEN_HASH_BYTES],
                       struct blx_error *err);

/* The text of a token's file, to be freed. -EACCES if this dispatcher does not know the token. */
int blx_pki_token_read(const struct blx_pki *pki, const char *name, char **text,
                       struct blx_error *err);

/* Writes a token's file; durable when it returns. */
int blx_pki_token_write(const struct blx_pki *pki, const char *name, const char *text,
                        struct blx_error *err);

/* A new secret and the CA's fingerprint; `name` becomes that of the file, in a folder that is there
 * and has been swept of `kind`'s tokens of the agent. */
enum blx_token_kind { BLX_TOKEN_NONE = 0, BLX_TOKEN_JOIN = 1, BLX_TOKEN_RESTORE = 2 };
int blx_pki_token_begin(const struct blx_pki *pki, const struct blx_pki_authority *ca,
                        const char *agent_id, unsigned swept_kinds, struct blx_token *token,
                        char name[BLX_TOKEN_NAME_BYTES], struct blx_error *err);

/* A token that can be used now. -EACCES if it is used, expired or not known; the message says
 * which. */
int blx_pki_token_look(const struct blx_pki *pki, const uint8_t secret[BLX_TOKEN_SECRET_BYTES],
                       struct blx_token_record *record, struct blx_error *err);

/* Marks it as used; durable when it returns. */
int blx_pki_token_use(const struct blx_pki *pki, const uint8_t secret[BLX_TOKEN_SECRET_BYTES],
                      const struct blx_token_record *record, struct blx_error *err);

/* Removes the agent's tokens of these kinds (of enum blx_token_kind), and all agents' tokens that
 * expired a day ago. `count` (may be NULL) becomes the number of the former. */
int blx_pki_token_sweep(const struct blx_pki *pki, const char *agent_id, unsigned kinds,
                        unsigned *count, struct blx_error *err);
