/* SPDX-License-Identifier: Apache-2.0 */
/* A request for a certificate, as a stranger with a token sends it: one that is accepted has a
 * P-256 key and is signed with it. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

#include "fuzz.h"
#include "tls/pem_private.h"
#include "tls/request_private.h"

static void check_request(const struct blx_request_message *request)
{
    BLX_CLEANUP_KEY EVP_PKEY *key = NULL;
    struct blx_error err = {0};
    char group[32] = "";
    int rc = blx_request_key(request, &key, &err);
    FUZZ_ASSERT(ERR_peek_error() == 0);
    if (rc < 0) {
        fuzz_assert_refusal(rc, &err);
        FUZZ_ASSERT(rc == -EBADMSG && key == NULL);
        return;
    }
    FUZZ_ASSERT(EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) == 1);
    FUZZ_ASSERT(strcmp(group, "prime256v1") == 0);
}

/* Signatures would stop every mutated request; so one is made of the key that the input names as
 * well. */
static void check_key(const uint8_t *data, size_t size)
{
    BLX_CLEANUP_KEY EVP_PKEY *key = NULL;
    BLX_CLEANUP_KEY EVP_PKEY *back = NULL;
    const unsigned char *at = data;
    struct blx_request_message request;
    key = d2i_AutoPrivateKey(NULL, &at, (long)size);
    int rc = key == NULL ? -EINVAL : blx_request_make(key, &request, NULL);
    ERR_clear_error();
    if (rc < 0)
        return;
    rc = blx_request_key(&request, &back, NULL);
    FUZZ_ASSERT(rc < 0 || EVP_PKEY_eq(key, back) == 1);
    ERR_clear_error();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct blx_request_message request = {.request_bytes = (uint32_t)size};
    if (size == 0 || size > BLX_REQUEST_MAX_BYTES)
        return 0;
    memcpy(request.bytes, data, size);
    check_request(&request);
    check_key(data, size);
    return 0;
}
