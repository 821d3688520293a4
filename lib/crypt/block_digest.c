/* SPDX-License-Identifier: Apache-2.0 */
#include "crypt/block_digest.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/le.h"

enum { NONCE_BYTES = 12 };
_Static_assert((int)BLX_BLOCK_DIGEST_BYTES == (int)BLX_XAES_TAG_BYTES,
               "a digest is a block of AES");

const uint8_t blx_block_digest_zero[BLX_BLOCK_DIGEST_BYTES] = {
    'b', 'l', 'x', 'r', 'e', 'p', ':', ' ', 'a', 'l', 'l', ' ', 'z', 'e', 'r', 'o',
};

struct blx_block_digester {
    EVP_CIPHER_CTX *hash; /* AES-256-GCM, keyed */
    EVP_CIPHER_CTX *mask; /* AES-256, keyed */
};

static int failed(struct blx_error *err)
{
    return blx_error_set(err, -EIO, "the cryptographic library cannot make a digest");
}

int blx_block_digester_new(const struct blx_volume_key *key, struct blx_block_digester **digester,
                           struct blx_error *err)
{
    struct blx_block_digester *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot make digests");
    made->hash = EVP_CIPHER_CTX_new();
    made->mask = EVP_CIPHER_CTX_new();
    if (made->hash == NULL || made->mask == NULL) {
        blx_block_digester_free(made);
        return blx_error_errno(err, -ENOMEM, "cannot make digests");
    }
    if (EVP_EncryptInit_ex(made->hash, EVP_aes_256_gcm(), NULL, key->digest, NULL) != 1 ||
        EVP_EncryptInit_ex(made->mask, EVP_aes_256_ecb(), NULL, key->digest + BLX_KEY_BYTES,
                           NULL) != 1 ||
        EVP_CIPHER_CTX_set_padding(made->mask, 0) != 1) {
        blx_block_digester_free(made);
        return failed(err);
    }
    *digester = made;
    return 0;
}

void blx_block_digester_free(struct blx_block_digester *digester)
{
    if (digester == NULL)
        return;
    EVP_CIPHER_CTX_free(digester->hash);
    EVP_CIPHER_CTX_free(digester->mask);
    free(digester);
}

static bool is_zero(const uint8_t *bytes, size_t count)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, count - 1) == 0;
}

int blx_block_digest(struct blx_block_digester *digester, uint64_t block, const void *data,
                     size_t bytes, uint8_t digest[BLX_BLOCK_DIGEST_BYTES], struct blx_error *err)
{
    uint8_t nonce[NONCE_BYTES] = {0}, none[BLX_XAES_TAG_BYTES], tag[BLX_XAES_TAG_BYTES];
    const blx_le64 number = blx_le64_of(block);
    int rest = 0;
    if (is_zero(data, bytes)) {
        memcpy(digest, blx_block_digest_zero, BLX_BLOCK_DIGEST_BYTES);
        return 0;
    }
    memcpy(nonce, &number, sizeof(number));
    bool made = EVP_EncryptInit_ex(digester->hash, NULL, NULL, NULL, nonce) == 1 &&
                EVP_EncryptUpdate(digester->hash, NULL, &rest, data, (int)bytes) == 1 &&
                EVP_EncryptFinal_ex(digester->hash, none, &rest) == 1 &&
                EVP_CIPHER_CTX_ctrl(digester->hash, EVP_CTRL_AEAD_GET_TAG, sizeof(tag), tag) == 1 &&
                EVP_EncryptUpdate(digester->mask, digest, &rest, tag, sizeof(tag)) == 1;
    OPENSSL_cleanse(tag, sizeof(tag));
    return made ? 0 : failed(err);
}
