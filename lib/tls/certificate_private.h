/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes certificates, and reads their names, numbers and times. Private to lib/tls.
 *
 * Threads: no shared state. Nothing here touches the disk.
 */
#pragma once

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/name.h"
#include "tls/tls.h"
#include "tls/token.h"

enum blx_certificate_kind {
    BLX_CERTIFICATE_CA,
    BLX_CERTIFICATE_DISPATCHER, /* for servers */
    BLX_CERTIFICATE_AGENT,      /* for clients */
};

enum {
    BLX_CERTIFICATE_CA_DAYS = 20 * 365 + 5,
    BLX_CERTIFICATE_DAYS = 10 * 365 + 2, /* at most: it never outlives its CA */
    /*
     * For an agent that renews by itself. It asks when a third is left: an agent that was switched
     * off for four months still gets in, and a stolen key that nobody has noticed dies within the
     * year.
     */
    BLX_CERTIFICATE_JOINED_DAYS = 365,
};

/* A new P-256 key; -EIO with OpenSSL's reason. */
int blx_certificate_new_key(EVP_PKEY **key, struct blx_error *err);

/*
 * A certificate for `key` with the common name `name`, signed by `ca_key` in the name of `ca`. For
 * a CA `ca` is NULL and `ca_key` is its own key. It is valid for `days` from now. An agent's is
 * valid since an hour ago, because clocks differ; the others are since 2020, because a clock may be
 * far ahead.
 */
int blx_certificate_make(enum blx_certificate_kind kind, const char *name, EVP_PKEY *key,
                         const X509 *ca, EVP_PKEY *ca_key, int days, X509 **cert,
                         struct blx_error *err);

/* The certificate's one common name. -EACCES if there is not just one, or it is not valid as an
 * ID. */
int blx_certificate_name(const X509 *cert, char name[BLX_NAME_BYTES], struct blx_error *err);

/* Whether a common name is a copier's. */
bool blx_certificate_is_copiers(const char *common_name);

/* The name of the copier whose certificate it is; "" if it is not a copier's. -EACCES if the name
 * is not valid. */
int blx_certificate_copier(const X509 *cert, char name[BLX_NAME_BYTES], struct blx_error *err);

/* The serial number in hexadecimal; -EACCES if it is longer than the standard allows. */
int blx_certificate_serial(const X509 *cert, char serial[BLX_SERIAL_TEXT_BYTES],
                           struct blx_error *err);

/* The days until it ends, rounded towards 0; negative after that. */
int64_t blx_certificate_days_left(const X509 *cert);

/* When it ends, in seconds since 1970; 0 if it does not say. */
uint64_t blx_certificate_ends_s(const X509 *cert);

/* Whether both have one name and one key: what one of them has signed is the other's, too. */
bool blx_certificate_is_same_authority(const X509 *a, const X509 *b);

/* Whether `ca` has signed the certificate. Looks at no date. */
bool blx_certificate_is_by(X509 *cert, X509 *ca);

/* The certificate in DER form, at most BLX_CERTIFICATE_MAX_BYTES. -EMSGSIZE. */
int blx_certificate_put(const X509 *cert, uint8_t *bytes, uint32_t *count, struct blx_error *err);

/* The certificate that is exactly these bytes; NULL. */
X509 *blx_certificate_get(const uint8_t *bytes, uint32_t count);

/* Whether less than a third of its validity is left. */
bool blx_certificate_is_ageing(const X509 *cert);

/* Whether it is not valid yet: a clock is wrong, or was ahead when it was made. */
bool blx_certificate_is_early(const X509 *cert);

/* SHA-256 of the whole certificate. */
int blx_certificate_fingerprint(const X509 *cert, uint8_t fingerprint[BLX_FINGERPRINT_BYTES],
                                struct blx_error *err);

/* The meaning of an X509_V_ERR_ number, as the end of the sentence "the certificate ...". */
const char *blx_certificate_verdict(int verify_result);
