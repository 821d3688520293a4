/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dispatcher's side of tokens: DIR/pki/tokens/HASH, where HASH is SHA-256 of the secret in
 * hexadecimal, so that who reads the folder can join nobody. A file is four lines:
 *
 *     blxrep token 1
 *     web1                 the agent's ID
 *     1795380960           when it expires, seconds since 1970 by the dispatcher's clock
 *     open                 or "used"
 *
 * A used or expired one stays for a day, so that the next one who comes with it is told why it is
 * refused. Private to lib/tls.
 *
 * Threads: no shared state. All functions but the parser block on the disk.
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

/* Writes the text; the buffer is always enough. */
void blx_token_record_format(const struct blx_token_record *record,
                             char text[BLX_TOKEN_RECORD_BYTES]);

/* Takes only what the other one writes; -EBADMSG. */
int blx_token_record_parse(const char *text, struct blx_token_record *record);

/* A token that can be used now. -EACCES: used, expired or not known, with which of them. */
int blx_pki_token_look(const struct blx_pki *pki, const uint8_t secret[BLX_TOKEN_SECRET_BYTES],
                       struct blx_token_record *record, struct blx_error *err);

/* Marks it as used; durable when it returns. */
int blx_pki_token_use(const struct blx_pki *pki, const uint8_t secret[BLX_TOKEN_SECRET_BYTES],
                      const struct blx_token_record *record, struct blx_error *err);

/* Removes the agent's tokens, and those of all agents that have been dead for a day. */
int blx_pki_token_sweep(const struct blx_pki *pki, const char *agent_id, struct blx_error *err);
