/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dispatcher's side of tokens: DIR/pki/tokens/HASH. HASH is the SHA-256 of the secret in
 * hexadecimal, so that whoever reads the folder cannot join with it. A file has four lines:
 *
 *     blxrep token 1
 *     web1                 the agent's ID
 *     1795380960           when it expires, seconds since 1970 by the dispatcher's clock
 *     open                 or "used"
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
#include "tls/token.h"

enum { BLX_TOKEN_RECORD_BYTES = 128 }; /* at most, with a NUL */

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

/* A token that can be used now. -EACCES if it is used, expired or not known; the message says
 * which. */
int blx_pki_token_look(const struct blx_pki *pki, const uint8_t secret[BLX_TOKEN_SECRET_BYTES],
                       struct blx_token_record *record, struct blx_error *err);

/* Marks it as used; durable when it returns. */
int blx_pki_token_use(const struct blx_pki *pki, const uint8_t secret[BLX_TOKEN_SECRET_BYTES],
                      const struct blx_token_record *record, struct blx_error *err);

/* Removes the agent's tokens, and all agents' tokens that expired a day ago. */
int blx_pki_token_sweep(const struct blx_pki *pki, const char *agent_id, struct blx_error *err);
