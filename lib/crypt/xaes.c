/* SPDX-License-Identifier: Apache-2.0 */
#include "crypt/xaes.h"

#include <errno.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <string.h>

enum { AES_BLOCK_BYTES = 16, SALT_BYTES = 12, GCM_NONCE_BYTES = 12 };
_Static_assert((int)SALT_BYTES + (int)GCM_NONCE_BYTES == (int)BLX_XAES_NONCE_BYTES, "nonce");

static int failed(struct blx_error *err)
{
    return blx_error_set(err, -EIO, "the cryptographic library cannot use AES-256-GCM");
}

/* L << 1 in GF(2^128), as AES-CMAC makes its first subkey of the encrypted zero block. */
static void double_block(uint8_t block[AES_BLOCK_BYTES])
{
    uint8_t carry = (uint8_t)(block[0] >> 7);
    for (size_t i = 0; i + 1 < AES_BLOCK_BYTES; i++)
        block[i] = (uint8_t)(block[i] << 1 | block[i + 1] >> 7);
    block[AES_BLOCK_BYTES - 1] = (uint8_t)(block[AES_BLOCK_BYTES - 1] << 1 ^ (carry ? 0x87 : 0));
}

/* The message's key: AES-CMAC of two blocks that differ in their counter. */
static bool derive(EVP_CIPHER_CTX *context, const uint8_t *key, const uint8_t *nonce,
                   uint8_t derived[BLX_XAES_KEY_BYTES])
{
    uint8_t subkey[AES_BLOCK_BYTES] = {0}, blocks[2][AES_BLOCK_BYTES] = {{0}};
    int bytes = 0;
    bool good = EVP_EncryptInit_ex(context, EVP_aes_256_ecb(), NULL, key, NULL) == 1 &&
                EVP_CIPHER_CTX_set_padding(context, 0) == 1 &&
                EVP_EncryptUpdate(context, subkey, &bytes, subkey, AES_BLOCK_BYTES) == 1;
    double_block(subkey);
    for (uint8_t i = 0; i < 2; i++) {
        const uint8_t head[] = {0, (uint8_t)(i + 1), 'X', 0};
        memcpy(blocks[i], head, sizeof(head));
        memcpy(blocks[i] + sizeof(head), nonce, SALT_BYTES);
        for (size_t j = 0; j < AES_BLOCK_BYTES; j++)
            blocks[i][j] ^= subkey[j];
    }
    good = good && EVP_EncryptUpdate(context, derived, &bytes, blocks[0], sizeof(blocks)) == 1;
    OPENSSL_cleanse(subkey, sizeof(subkey));
    OPENSSL_cleanse(blocks, sizeof(blocks));
    return good;
}

static bool begin(EVP_CIPHER_CTX *context, const struct blx_xaes_message *message, bool encrypt)
{
    uint8_t derived[BLX_XAES_KEY_BYTES];
    int bytes = 0;
    bool good = derive(context, message->key, message->nonce, derived) &&
                EVP_CipherInit_ex(context, EVP_aes_256_gcm(), NULL, derived,
                                  message->nonce + SALT_BYTES, encrypt) == 1;
    OPENSSL_cleanse(derived, sizeof(derived));
    for (size_t i = 0; good && i < message->piece_count; i++)
        good = EVP_CipherUpdate(context, NULL, &bytes, message->pieces[i].data,
                                (int)message->pieces[i].bytes) == 1;
    return good;
}

/* -ENOMEM, or -EINVAL for a message that is too long. */
static int make_context(size_t bytes, EVP_CIPHER_CTX **context, struct blx_error *err)
{
    if (bytes > INT_MAX)
        return blx_error_set(err, -EINVAL, "%zu bytes are too many for one message", bytes);
    *context = EVP_CIPHER_CTX_new();
    return *context != NULL ? 0 : blx_error_errno(err, -ENOMEM, "cannot use AES-256-GCM");
}

static bool run(EVP_CIPHER_CTX *context, void *data, size_t bytes)
{
    int done = 0;
    return bytes == 0 || EVP_CipherUpdate(context, data, &done, data, (int)bytes) == 1;
}

int blx_xaes_encrypt(const struct blx_xaes_message *message, void *data, size_t bytes,
                     uint8_t tag[BLX_XAES_TAG_BYTES], struct blx_error *err)
{
    uint8_t none[AES_BLOCK_BYTES];
    EVP_CIPHER_CTX *context = NULL;
    int rest = 0, rc = make_context(bytes, &context, err);
    if (rc < 0)
        return rc;
    bool good = begin(context, message, true) && run(context, data, bytes) &&
                EVP_EncryptFinal_ex(context, none, &rest) == 1 &&
                EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, BLX_XAES_TAG_BYTES, tag) == 1;
    EVP_CIPHER_CTX_free(context);
    return good ? 0 : failed(err);
}

int blx_xaes_decrypt(const struct blx_xaes_message *message, void *data, size_t bytes,
                     const uint8_t tag[BLX_XAES_TAG_BYTES], struct blx_error *err)
{
    uint8_t expected[BLX_XAES_TAG_BYTES], none[AES_BLOCK_BYTES];
    EVP_CIPHER_CTX *context = NULL;
    int rest = 0, rc = make_context(bytes, &context, err);
    if (rc < 0)
        return rc;
    memcpy(expected, tag, sizeof(expected));
    bool good =
        begin(context, message, false) && run(context, data, bytes) &&
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, BLX_XAES_TAG_BYTES, expected) == 1;
    bool right = good && EVP_DecryptFinal_ex(context, none, &rest) == 1;
    EVP_CIPHER_CTX_free(context);
    if (!good)
        return failed(err);
    return right ? 0 : blx_error_set(err, -EBADMSG, "it is not what was encrypted with this key");
}
