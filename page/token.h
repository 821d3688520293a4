/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invitations: `blxrep dispatcher page` makes one, and whoever opens its URL first, within
 * PAGE_TOKEN_SECONDS, has a session. DIR/page/tokens/HASH, a file of three lines:
 *
 *     blxrep page token 1
 *     1795380960           when it expires, seconds since 1970
 *     operator             or "viewer"
 *
 * HASH is the SHA-256 of the token's text in hexadecimal, so that whoever reads the folder cannot
 * use it. Its use is the removal of the file: of two that come with one token a single one removes
 * it.
 *
 * Threads: no shared state. All functions wait for the disk.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "page/role.h"

enum {
    PAGE_TOKEN_SECRET_BYTES = 20, /* 160 bits */
    PAGE_TOKEN_TEXT_BYTES = 2 * PAGE_TOKEN_SECRET_BYTES + 1,
    PAGE_TOKEN_SECONDS = 10 * 60,
};

/* Makes one, and removes those that have expired. */
int page_token_make(const char *data_dir, enum page_role role, char text[PAGE_TOKEN_TEXT_BYTES],
                    struct blx_error *err);

/* -EACCES: it is not known, used or expired, or `text` is no token. */
int page_token_use(const char *data_dir, const char *text, enum page_role *role,
                   struct blx_error *err);
