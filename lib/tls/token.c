/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/token.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "wire/ssl_error.h"

static const char prefix[] = "blxrep1";
static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";

enum {
    PREFIX_LENGTH = sizeof(prefix) - 1,
    CHECKSUM_BYTES = 3,
    CHECKED_BYTES = BLX_TOKEN_SECRET_BYTES + BLX_FINGERPRINT_BYTES,
    ALL_BYTES = CHECKED_BYTES + CHECKSUM_BYTES,
    LETTERS = ALL_BYTES * 8 / 5,
    BITS_PER_LETTER = 5,
};
_Static_assert(ALL_BYTES * 8 % BITS_PER_LETTER == 0, "no letter is used in part");
_Static_assert(PREFIX_LENGTH + LETTERS + 1 == BLX_TOKEN_TEXT_BYTES, "the text's size");

static int digest_of(const uint8_t bytes[CHECKED_BYTES], uint8_t digest[SHA256_DIGEST_LENGTH],
                     struct blx_error *err)
{
    if (SHA256(bytes, CHECKED_BYTES, digest) == NULL)
        return blx_error_set(err, -EIO, "cannot make a digest: %s", blx_ssl_reason());
    return 0;
}

int blx_token_format(const struct blx_token *token, char text[BLX_TOKEN_TEXT_BYTES],
                     struct blx_error *err)
{
    uint8_t bytes[ALL_BYTES];
    uint8_t digest[SHA256_DIGEST_LENGTH];
    memcpy(bytes, token->secret, BLX_TOKEN_SECRET_BYTES);
    memcpy(bytes + BLX_TOKEN_SECRET_BYTES, token->ca_fingerprint, BLX_FINGERPRINT_BYTES);
    int rc = digest_of(bytes, digest, err);
    if (rc < 0)
        return rc;
    memcpy(bytes + CHECKED_BYTES, digest, CHECKSUM_BYTES);
    memcpy(text, prefix, PREFIX_LENGTH);
    char *out = text + PREFIX_LENGTH;
    unsigned held = 0, held_bits = 0;
    for (size_t i = 0; i < ALL_BYTES; i++) {
        held = (held << 8 | bytes[i]) & 0xffff;
        for (held_bits += 8; held_bits >= BITS_PER_LETTER; held_bits -= BITS_PER_LETTER)
            *out++ = alphabet[held >> (held_bits - BITS_PER_LETTER) & 31];
    }
    *out = '\0';
    OPENSSL_cleanse(bytes, sizeof(bytes));
    return 0;
}

static int bad(struct blx_error *err, const char *why)
{
    return blx_error_set(err, -EINVAL,
                         "the token is not whole: %s; copy all that `blxrep dispatcher enroll "
                         "--token` has printed",
                         why);
}

/* Whether each of them is in the alphabet. */
static bool unpack(const char letters[LETTERS], uint8_t bytes[ALL_BYTES])
{
    unsigned held = 0, held_bits = 0;
    for (size_t i = 0; i < LETTERS; i++) {
        const char *at = memchr(alphabet, tolower((unsigned char)letters[i]), sizeof(alphabet) - 1);
        if (at == NULL)
            return false;
        held = (held << BITS_PER_LETTER | (unsigned)(at - alphabet)) & 0xffff;
        held_bits += BITS_PER_LETTER;
        if (held_bits >= 8) {
            held_bits -= 8;
            *bytes++ = (uint8_t)(held >> held_bits);
        }
    }
    return true;
}

int blx_token_parse(const char *text, struct blx_token *token, struct blx_error *err)
{
    uint8_t bytes[ALL_BYTES];
    uint8_t digest[SHA256_DIGEST_LENGTH];
    size_t length = strlen(text);
    if (length < PREFIX_LENGTH || strncasecmp(text, prefix, PREFIX_LENGTH) != 0)
        return bad(err, "it does not begin with blxrep1");
    if (length != PREFIX_LENGTH + LETTERS)
        return bad(err, length < PREFIX_LENGTH + LETTERS ? "letters are missing"
                                                         : "there are too many letters");
    if (!unpack(text + PREFIX_LENGTH, bytes))
        return bad(err, "it has a character that a token never has");
    int rc = digest_of(bytes, digest, err);
    if (rc == 0 && memcmp(digest, bytes + CHECKED_BYTES, CHECKSUM_BYTES) != 0)
        rc = bad(err, "one of its letters was changed");
    if (rc == 0) {
        memcpy(token->secret, bytes, BLX_TOKEN_SECRET_BYTES);
        memcpy(token->ca_fingerprint, bytes + BLX_TOKEN_SECRET_BYTES, BLX_FINGERPRINT_BYTES);
    }
    OPENSSL_cleanse(bytes, sizeof(bytes));
    return rc;
}
