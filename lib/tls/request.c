/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/request_private.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

#include "tls/pem_private.h"
#include "wire/ssl_error.h"

static void cleanup_request(X509_REQ **request)
{
    X509_REQ_free(*request);
}
#define CLEANUP_REQUEST BLX_CLEANUP(cleanup_request)

int blx_request_make(EVP_PKEY *key, struct blx_request_message *request, struct blx_error *err)
{
    CLEANUP_REQUEST X509_REQ *made = X509_REQ_new();
    if (made == NULL || X509_REQ_set_version(made, X509_REQ_VERSION_1) != 1 ||
        X509_REQ_set_pubkey(made, key) != 1 || X509_REQ_sign(made, key, EVP_sha256()) <= 0)
        return blx_error_set(err, -EIO, "cannot make a request for a certificate: %s",
                             blx_ssl_reason());
    unsigned char *out = request->bytes;
    int bytes = i2d_X509_REQ(made, NULL);
    if (bytes <= 0 || bytes > BLX_REQUEST_MAX_BYTES || i2d_X509_REQ(made, &out) != bytes)
        return blx_error_set(err, -EIO, "cannot make a request for a certificate: %s",
                             blx_ssl_reason());
    request->request_bytes = (uint32_t)bytes;
    return 0;
}

static bool is_p256(const EVP_PKEY *key)
{
    char group[32];
    size_t length = 0;
    return EVP_PKEY_is_a(key, "EC") == 1 &&
           EVP_PKEY_get_group_name(key, group, sizeof(group), &length) == 1 &&
           strcmp(group, "prime256v1") == 0;
}

static int bad(struct blx_error *err, const char *why)
{
    ERR_clear_error();
    return blx_error_set(err, -EBADMSG, "the request for a certificate %s", why);
}

int blx_request_key(const struct blx_request_message *request, EVP_PKEY **key,
                    struct blx_error *err)
{
    const unsigned char *at = request->bytes;
    CLEANUP_REQUEST X509_REQ *read = d2i_X509_REQ(NULL, &at, (long)request->request_bytes);
    if (read == NULL || at != request->bytes + request->request_bytes)
        return bad(err, "is not one (PKCS#10, DER)");
    BLX_CLEANUP_KEY EVP_PKEY *own = X509_REQ_get_pubkey(read);
    if (own == NULL || !is_p256(own))
        return bad(err, "has a key that is not on P-256");
    if (X509_REQ_verify(read, own) != 1)
        return bad(err, "is not signed with its own key");
    ERR_clear_error();
    *key = blx_take_ptr(own);
    return 0;
}
