/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/pem_private.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdbool.h>

#include "base/io.h"

enum { FILE_LIMIT_BYTES = 1024 * 1024 };

/* Without this OpenSSL would ask at the terminal. */
static int refuse_password(char *buffer, int bytes, int writing, void *asked)
{
    (void)buffer;
    (void)bytes;
    (void)writing;
    *(int *)asked = 1;
    return -1;
}

static int key_missing(const char *path, int encrypted, struct blx_error *err)
{
    ERR_clear_error();
    if (encrypted)
        return blx_error_set(err, -EINVAL,
                             "the private key in '%s' is encrypted: a daemon cannot ask for its "
                             "password, so store it decrypted, readable by its user only",
                             path);
    return blx_error_set(err, -EINVAL, "'%s' has no private key in PEM form that can be read",
                         path);
}

int blx_pem_read_key(const char *path, EVP_PKEY **key, struct blx_error *err)
{
    void *content = NULL;
    size_t bytes = 0;
    int rc = blx_file_read(path, FILE_LIMIT_BYTES, &content, &bytes, err);
    if (rc < 0)
        return rc;
    int encrypted = 0;
    EVP_PKEY *read = NULL;
    BIO *bio = BIO_new_mem_buf(content, (int)bytes);
    if (bio != NULL)
        read = PEM_read_bio_PrivateKey(bio, NULL, refuse_password, &encrypted);
    BIO_free(bio);
    OPENSSL_cleanse(content, bytes);
    free(content);
    if (read == NULL)
        return key_missing(path, encrypted, err);
    *key = read;
    return 0;
}

/* Reads until there is no further certificate. A damaged certificate is an error, not the end. */
static int read_stack(BIO *bio, struct stack_st_X509 *certs)
{
    for (;;) {
        X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (cert == NULL)
            break;
        if (sk_X509_push(certs, cert) <= 0) {
            X509_free(cert);
            return -ENOMEM;
        }
    }
    bool ended = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    return ended && sk_X509_num(certs) > 0 ? 0 : -EINVAL;
}

int blx_pem_read_certs(const char *path, struct stack_st_X509 **certs, struct blx_error *err)
{
    void *content = NULL;
    size_t bytes = 0;
    int rc = blx_file_read(path, FILE_LIMIT_BYTES, &content, &bytes, err);
    if (rc < 0)
        return rc;
    ERR_clear_error();
    BIO *bio = BIO_new_mem_buf(content, (int)bytes);
    BLX_CLEANUP_X509_STACK struct stack_st_X509 *read = sk_X509_new_null();
    rc = bio == NULL || read == NULL ? -ENOMEM : read_stack(bio, read);
    BIO_free(bio);
    /* A bundle also has the key. */
    OPENSSL_cleanse(content, bytes);
    free(content);
    ERR_clear_error();
    if (rc == -EINVAL)
        return blx_error_set(err, rc, "'%s' has no certificate in PEM form, or a damaged one",
                             path);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot read '%s'", path);
    *certs = blx_take_ptr(read);
    return 0;
}

int blx_pem_read_cert(const char *path, X509 **cert, struct blx_error *err)
{
    BLX_CLEANUP_X509_STACK struct stack_st_X509 *certs = NULL;
    int rc = blx_pem_read_certs(path, &certs, err);
    if (rc == 0)
        *cert = sk_X509_shift(certs);
    return rc;
}
