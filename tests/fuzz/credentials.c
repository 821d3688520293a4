/* SPDX-License-Identifier: Apache-2.0 */
/* A PEM bundle as an agent or a site gives it: key, certificate and CA in one file. A context is
 * made only of one that holds all three. */
#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "tls/certificate_private.h"
#include "tls/pem_private.h"
#include "tls/tls.h"

static bool check_certs(const char *path)
{
    BLX_CLEANUP_X509_STACK struct stack_st_X509 *certs = NULL;
    struct blx_error err = {0};
    int rc = blx_pem_read_certs(path, &certs, &err);
    if (rc < 0) {
        fuzz_assert_refusal(rc, &err);
        return false;
    }
    FUZZ_ASSERT(sk_X509_num(certs) > 0);
    for (int i = 0; i < sk_X509_num(certs); i++) {
        char name[BLX_NAME_BYTES];
        struct blx_error name_err = {0};
        rc = blx_certificate_name(sk_X509_value(certs, i), name, &name_err);
        if (rc < 0)
            fuzz_assert_refusal(rc, &name_err);
        else
            FUZZ_ASSERT(blx_name_check("name", name, NULL) == 0);
    }
    return true;
}

static bool check_key(const char *path)
{
    BLX_CLEANUP_KEY EVP_PKEY *key = NULL;
    struct blx_error err = {0};
    int rc = blx_pem_read_key(path, &key, &err);
    if (rc < 0)
        fuzz_assert_refusal(rc, &err);
    return rc == 0;
}

static void check_context(int rc, const struct blx_tls_context *context, bool has_all,
                          const struct blx_error *err)
{
    char name[BLX_NAME_BYTES];
    struct blx_error name_err = {0};
    FUZZ_ASSERT(rc < 0 || has_all);
    if (rc < 0) {
        fuzz_assert_refusal(rc, err);
        return;
    }
    FUZZ_ASSERT(blx_tls_context_days_left(context) >= 0);
    rc = blx_tls_context_name(context, name, &name_err);
    if (rc < 0)
        fuzz_assert_refusal(rc, &name_err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[PATH_MAX];
    struct blx_error err = {0}, server_err = {0};
    BLX_CLEANUP_TLS_CONTEXT struct blx_tls_context *client = NULL;
    BLX_CLEANUP_TLS_CONTEXT struct blx_tls_context *server = NULL;
    fuzz_path(path, "bundle.pem");
    fuzz_write_file(path, data, size);
    bool has_certs = check_certs(path);
    bool has_key = check_key(path);
    const struct blx_tls_files files = {.ca = path, .cert = path, .key = path};
    int rc = blx_tls_context_new_client(&files, &client, &err);
    check_context(rc, client, has_certs && has_key, &err);
    rc = blx_tls_context_new_server(&files, &server, &server_err);
    check_context(rc, server, has_certs && has_key, &server_err);
    FUZZ_ASSERT(fuzz_file_is(path, data, size));
    /* Nothing of a refusal may be left for the next one to report. */
    FUZZ_ASSERT(ERR_peek_error() == 0);
    return 0;
}
