/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A token: one word that an administrator carries from the dispatcher to a server that shall join.
 * It is "blxrep1" and 88 letters and digits (base32, RFC 4648, small letters): 20 random bytes, the
 * fingerprint of the dispatcher's CA (SHA-256 of the certificate), and a checksum (the first 3
 * bytes of SHA-256 of the 52 before), so that a bad copy is noticed where it is pasted. It has no
 * character that is special to a shell, a mail program or a double click.
 *
 * Threads: all functions are pure.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "wire/message.h"

enum {
    BLX_TOKEN_TEXT_BYTES = 7 + 88 + 1,
};

struct blx_token {
    uint8_t secret[BLX_TOKEN_SECRET_BYTES];
    uint8_t ca_fingerprint[BLX_FINGERPRINT_BYTES];
};

/* -EIO if OpenSSL cannot make a digest. */
int blx_token_format(const struct blx_token *token, char text[BLX_TOKEN_TEXT_BYTES],
                     struct blx_error *err);

/* Capital letters are accepted too. -EINVAL with the mistake; the message does not repeat the
 * token. */
int blx_token_parse(const char *text, struct blx_token *token, struct blx_error *err);
