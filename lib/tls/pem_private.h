/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys and certificates in PEM files. Errors name the file. Private to lib/tls.
 *
 * Threads: no shared state. Waits for the disk.
 */
#pragma once

#include <openssl/x509.h>

#include "base/cleanup.h"
#include "base/error.h"

static inline void blx_cleanup_key(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}
static inline void blx_cleanup_x509(X509 **cert)
{
    X509_free(*cert);
}
static inline void blx_cleanup_bio(BIO **bio)
{
    BIO_free(*bio);
}
static inline void blx_cleanup_x509_stack(struct stack_st_X509 **certs)
{
    sk_X509_pop_free(*certs, X509_free);
}
#define BLX_CLEANUP_KEY  BLX_CLEANUP(blx_cleanup_key)
#define BLX_CLEANUP_X509 BLX_CLEANUP(blx_cleanup_x509)
#define BLX_CLEANUP_BIO  BLX_CLEANUP(blx_cleanup_bio)
static inline void blx_cleanup_x509_list(struct stack_st_X509 **certs)
{
    sk_X509_free(*certs);
}
#define BLX_CLEANUP_X509_LIST                                                                      \
    BLX_CLEANUP(blx_cleanup_x509_list) /* whose certificates are others' */
#define BLX_CLEANUP_X509_STACK BLX_CLEANUP(blx_cleanup_x509_stack)

/* The first private key of the file; its PEM form is wiped from memory. -EINVAL if there is none,
 * or it is encrypted. */
int blx_pem_read_key(const char *path, EVP_PKEY **key, struct blx_error *err);

/* All certificates of the file in order, at least one; free with sk_X509_pop_free(). */
int blx_pem_read_certs(const char *path, struct stack_st_X509 **certs, struct blx_error *err);

/* The first certificate of the file. */
int blx_pem_read_cert(const char *path, X509 **cert, struct blx_error *err);
