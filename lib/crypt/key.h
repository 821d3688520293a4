/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An encryption key and its file. The key is 256 random bits; the keys that encrypt and digest a
 * volume's blocks are derived from it (volume_key.h). Its id is derived from it too, and is not
 * secret: with it frames and manifests name the key that they need.
 *
 * The file is text, so that it can be printed and typed in again:
 *
 *     blxrep encryption key 1
 *     # a comment
 *     id: 16 hexadecimal digits
 *     key: 64 hexadecimal digits
 *
 * The form for paper says where a digit was mistyped: each quarter of the key has a check sum. It
 * is a key file as well:
 *
 *     blxrep encryption key 2
 *     id: 16 hexadecimal digits
 *     key 1: 4 groups of 4 digits, and the check sum's 4 digits; then "key 2: " to "key 4: "
 *
 * Secrets: the owner of a struct blx_key wipes it with blx_key_wipe(). These functions wipe their
 * own copies.
 *
 * Threads: no shared state.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"

enum {
    BLX_KEY_BYTES = 32,
    BLX_KEY_ID_BYTES = 8,
    BLX_KEY_ID_TEXT_BYTES = 2 * BLX_KEY_ID_BYTES + 1,
    BLX_KEY_FILE_MAX_BYTES = 4096,
    BLX_KEY_PAPER_BYTES = 1024,
};

struct blx_key_id {
    uint8_t bytes[BLX_KEY_ID_BYTES]; /* all zero: none, which means not encrypted */
};

struct blx_key {
    uint8_t secret[BLX_KEY_BYTES];
    struct blx_key_id id;
};

/* The key of these random bytes, with its id. -EIO. */
int blx_key_set(struct blx_key *key, const uint8_t secret[BLX_KEY_BYTES], struct blx_error *err);

/* A new random key. -EIO. */
int blx_key_create(struct blx_key *key, struct blx_error *err);

/* NULL is allowed. */
void blx_key_wipe(struct blx_key *key);
#define BLX_CLEANUP_SECRET_KEY BLX_CLEANUP(blx_key_wipe)

/* Reads a file's text, `bytes` long. -EINVAL with the reason if it is not a key file, or was
 * changed (the id does not fit); -EIO if the cryptographic library fails. */
int blx_key_parse(const char *text, size_t bytes, struct blx_key *key, struct blx_error *err);

/* The same for the file at `path`, which the error names. Waits for the disk. */
int blx_key_read(const char *path, struct blx_key *key, struct blx_error *err);

/* Writes a file (base/secret_file.h) that did not exist before: -EEXIST. Durable when it returns.
 * Waits for the disk. */
int blx_key_write(const char *path, const struct blx_key *key, struct blx_error *err);

/* The text of a key file in the form for paper, which the caller wipes. */
void blx_key_format_for_paper(const struct blx_key *key, char text[BLX_KEY_PAPER_BYTES]);

bool blx_key_id_is_none(const struct blx_key_id *id);
bool blx_key_id_equal(const struct blx_key_id *a, const struct blx_key_id *b);
void blx_key_id_format(const struct blx_key_id *id, char text[BLX_KEY_ID_TEXT_BYTES]);

/* HKDF-SHA-256 without a salt (RFC 5869). -EIO. */
int blx_key_expand(const uint8_t secret[BLX_KEY_BYTES], const void *info, size_t info_bytes,
                   void *out, size_t out_bytes, struct blx_error *err);
