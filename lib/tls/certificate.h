/*
 * Making certificates and reading what they say. Private to lib/tls. No shared state; nothing here
 * touches the disk.
 */
#pragma once

#include <openssl/x509.h>

#include "base/error.h"
#include "base/name.h"

enum blx_certificate_kind {
    BLX_CERTIFICATE_CA,
    BLX_CERTIFICATE_DISPATCHER, /* for servers */
    BLX_CERTIFICATE_AGENT,      /* for clients */
};

enum {
    BLX_CERTIFICATE_CA_DAYS = 20 * 365 + 5,
    BLX_CERTIFICATE_DAYS = 10 * 365 + 2, /* at most: never longer than its CA */
};

/* A new P-256 key; -EIO with OpenSSL's reason. */
int blx_certificate_new_key(EVP_PKEY **key, struct blx_error *err);

/*
 * A certificate for `key` with the common name `name`, signed by `ca_key` in the name of `ca`; for
 * a CA `ca` is NULL and `ca_key` its own key. `days` from now, with notBefore an hour back since
 * clocks differ.
 */
int blx_certificate_make(enum blx_certificate_kind kind, const char *name, EVP_PKEY *key,
                         const X509 *ca, EVP_PKEY *ca_key, int days, X509 **cert,
                         struct blx_error *err);

/* The one common name, checked as an ID is; -EACCES where there is none or another text. */
int blx_certificate_name(const X509 *cert, char name[BLX_NAME_BYTES], struct blx_error *err);

/* What an X509_V_ERR_ number means, as the end of the sentence "the certificate ...". */
const char *blx_certificate_verdict(int verify_result);
