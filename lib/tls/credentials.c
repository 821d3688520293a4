/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/credentials_private.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdbool.h>

#include "base/secret_file.h"
#include "tls/pem_private.h"

static bool put(BIO *bundle, EVP_PKEY *key, X509 *cert, X509 *ca,
                const struct stack_st_X509 *before)
{
    bool done = PEM_write_bio_PrivateKey(bundle, key, NULL, NULL, 0, NULL, NULL) == 1 &&
                PEM_write_bio_X509(bundle, cert) == 1 && PEM_write_bio_X509(bundle, ca) == 1;
    for (int i = 0; done && i < sk_X509_num(before); i++)
        done = PEM_write_bio_X509(bundle, sk_X509_value(before, i)) == 1;
    return done;
}

int blx_credentials_format(EVP_PKEY *key, X509 *cert, X509 *ca, const struct stack_st_X509 *before,
                           BIO **bundle, struct blx_error *err)
{
    BLX_CLEANUP_BIO BIO *made = BIO_new(BIO_s_secmem());
    if (made == NULL || !put(made, key, cert, ca, before)) {
        ERR_clear_error();
        return blx_error_errno(err, -ENOMEM, "cannot write an agent's credentials");
    }
    *bundle = blx_take_ptr(made);
    return 0;
}

int blx_credentials_write(const char *path, EVP_PKEY *key, X509 *cert, X509 *ca,
                          const struct stack_st_X509 *before, const char *way_out,
                          struct blx_error *err)
{
    BLX_CLEANUP_BIO BIO *bundle = NULL;
    char *content = NULL;
    int rc = blx_credentials_format(key, cert, ca, before, &bundle, err);
    if (rc < 0)
        return rc;
    long bytes = BIO_get_mem_data(bundle, &content);
    return blx_secret_file_write(path, content, (size_t)bytes, way_out, err);
}
