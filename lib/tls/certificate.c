/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/certificate_private.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#include "tls/pem_private.h"
#include "tls/tls.h"
#include "wire/message.h"
#include "wire/ssl_error.h"

enum { SERIAL_BITS = 128, HOUR_SECONDS = 3600 };

struct extension {
    int nid;
    const char *value;
};

static const struct extension ca_extensions[] = {
    {NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
    {NID_key_usage, "critical,keyCertSign,cRLSign"},
    {NID_subject_key_identifier, "hash"},
    {0, NULL},
};
static const struct extension dispatcher_extensions[] = {
    {NID_basic_constraints, "critical,CA:FALSE"},
    {NID_key_usage, "critical,digitalSignature"},
    {NID_ext_key_usage, "serverAuth"},
    {NID_subject_key_identifier, "hash"},
    {NID_authority_key_identifier, "keyid:always"},
    {NID_subject_alt_name, "DNS:" BLX_TLS_DISPATCHER_NAME},
    {0, NULL},
};
static const struct extension agent_extensions[] = {
    {NID_basic_constraints, "critical,CA:FALSE"},
    {NID_key_usage, "critical,digitalSignature"},
    {NID_ext_key_usage, "clientAuth"},
    {NID_subject_key_identifier, "hash"},
    {NID_authority_key_identifier, "keyid:always"},
    {0, NULL},
};
static const struct extension *const extensions_of[] = {
    [BLX_CERTIFICATE_CA] = ca_extensions,
    [BLX_CERTIFICATE_DISPATCHER] = dispatcher_extensions,
    [BLX_CERTIFICATE_AGENT] = agent_extensions,
};

int blx_certificate_new_key(EVP_PKEY **key, struct blx_error *err)
{
    EVP_PKEY *made = EVP_EC_gen("P-256");
    if (made == NULL)
        return blx_error_set(err, -EIO, "cannot make a key: %s", blx_ssl_reason());
    *key = made;
    return 0;
}

static bool set_serial(X509 *cert)
{
    BIGNUM *number = BN_new();
    bool done = number != NULL &&
                BN_rand(number, SERIAL_BITS, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
                BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)) != NULL;
    BN_free(number);
    return done;
}

static bool set_name(X509 *cert, const char *name)
{
    X509_NAME *subject = X509_get_subject_name(cert);
    return X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8,
                                      (const unsigned char *)name, -1, -1, 0) == 1;
}

/* Only an agent's certificate has its age told from its beginning. The others begin before every
 * clock, so that one that was ahead, or is slow, makes no certificate that is not valid yet. */
static bool set_beginning(X509 *cert, enum blx_certificate_kind kind)
{
    if (kind == BLX_CERTIFICATE_AGENT)
        return X509_gmtime_adj(X509_getm_notBefore(cert), -HOUR_SECONDS) != NULL;
    return ASN1_TIME_set_string(X509_getm_notBefore(cert), "200101000000Z") == 1;
}

static bool set_validity(X509 *cert, enum blx_certificate_kind kind, const X509 *ca, int days)
{
    if (!set_beginning(cert, kind) ||
        X509_time_adj_ex(X509_getm_notAfter(cert), days, 0, NULL) == NULL)
        return false;
    if (ca != NULL && ASN1_TIME_compare(X509_get0_notAfter(cert), X509_get0_notAfter(ca)) > 0)
        return X509_set1_notAfter(cert, X509_get0_notAfter(ca)) == 1;
    return true;
}

static bool add_extensions(X509 *cert, const X509 *ca, const struct extension *extensions)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, (X509 *)(uintptr_t)ca, cert, NULL, NULL, 0);
    for (; extensions->value != NULL; extensions++) {
        X509_EXTENSION *made =
            X509V3_EXT_conf_nid(NULL, &context, extensions->nid, extensions->value);
        bool added = made != NULL && X509_add_ext(cert, made, -1) == 1;
        X509_EXTENSION_free(made);
        if (!added)
            return false;
    }
    return true;
}

int blx_certificate_make(enum blx_certificate_kind kind, const char *name, EVP_PKEY *key,
                         const X509 *ca, EVP_PKEY *ca_key, int days, X509 **cert,
                         struct blx_error *err)
{
    BLX_CLEANUP_X509 X509 *made = X509_new();
    const X509 *issuer = ca == NULL ? made : ca;
    bool done = made != NULL && X509_set_version(made, X509_VERSION_3) == 1 && set_serial(made) &&
                set_name(made, name) && set_validity(made, kind, ca, days) &&
                X509_set_issuer_name(made, X509_get_subject_name(issuer)) == 1 &&
                X509_set_pubkey(made, key) == 1 &&
                add_extensions(made, issuer, extensions_of[kind]) &&
                X509_sign(made, ca_key, EVP_sha256()) > 0;
    if (!done)
        return blx_error_set(err, -EIO, "cannot make the certificate of '%s': %s", name,
                             blx_ssl_reason());
    *cert = blx_take_ptr(made);
    return 0;
}

/* The certificate's one common name, whatever it is; to be freed with OPENSSL_free(). */
static int common_name(const X509 *cert, char **name, struct blx_error *err)
{
    const X509_NAME *subject = X509_get_subject_name(cert);
    int index = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (index < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, index) >= 0)
        return blx_error_set(err, -EACCES, "the certificate does not have just one common name");
    unsigned char *text = NULL;
    const X509_NAME_ENTRY *entry = X509_NAME_get_entry(subject, index);
    int length = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(entry));
    ERR_clear_error();
    if (length >= 0 && strlen((const char *)text) == (size_t)length) {
        *name = (char *)text;
        return 0;
    }
    OPENSSL_free(text);
    return blx_error_set(err, -EACCES, "the certificate's common name is not a text");
}

bool blx_certificate_is_copiers(const char *common_name)
{
    return strncmp(common_name, BLX_TLS_COPIER_PREFIX, strlen(BLX_TLS_COPIER_PREFIX)) == 0;
}

static int take_name(const char *text, char name[BLX_NAME_BYTES], struct blx_error *err)
{
    struct blx_error reason = {0};
    if (blx_name_check("certificate's common name", text, &reason) < 0)
        return blx_error_copy(err, -EACCES, &reason);
    memcpy(name, text, strlen(text) + 1);
    return 0;
}

int blx_certificate_name(const X509 *cert, char name[BLX_NAME_BYTES], struct blx_error *err)
{
    char *text = NULL;
    int rc = common_name(cert, &text, err);
    if (rc < 0)
        return rc;
    rc = blx_certificate_is_copiers(text)
             ? blx_error_set(err, -EACCES,
                             "the certificate is a copier's, which may only read "
                             "copies: an agent needs one of its own")
             : take_name(text, name, err);
    OPENSSL_free(text);
    return rc;
}

int blx_certificate_copier(const X509 *cert, char name[BLX_NAME_BYTES], struct blx_error *err)
{
    char *text = NULL;
    int rc = common_name(cert, &text, err);
    if (rc < 0)
        return rc;
    if (blx_certificate_is_copiers(text))
        rc = take_name(text + strlen(BLX_TLS_COPIER_PREFIX), name, err);
    else
        name[0] = '\0';
    OPENSSL_free(text);
    return rc;
}

int blx_certificate_serial(const X509 *cert, char serial[BLX_SERIAL_TEXT_BYTES],
                           struct blx_error *err)
{
    BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
    char *text = number == NULL ? NULL : BN_bn2hex(number);
    int rc = 0;
    if (text == NULL)
        rc = blx_error_errno(err, -ENOMEM, "cannot read a certificate");
    else if (text[0] == '-' || strlen(text) >= BLX_SERIAL_TEXT_BYTES)
        rc = blx_error_set(err, -EACCES, "the certificate's serial number is out of range");
    else
        memcpy(serial, text, strlen(text) + 1);
    OPENSSL_free(text);
    BN_free(number);
    ERR_clear_error();
    return rc;
}

static int64_t seconds_between(const ASN1_TIME *from, const ASN1_TIME *to)
{
    int days = 0;
    int seconds = 0;
    ASN1_TIME_diff(&days, &seconds, from, to);
    return (int64_t)days * 24 * HOUR_SECONDS + seconds;
}

int64_t blx_certificate_days_left(const X509 *cert)
{
    return seconds_between(NULL, X509_get0_notAfter(cert)) / (24 * HOUR_SECONDS);
}

uint64_t blx_certificate_ends_s(const X509 *cert)
{
    struct tm end;
    if (ASN1_TIME_to_tm(X509_get0_notAfter(cert), &end) == 1)
        return (uint64_t)timegm(&end);
    ERR_clear_error();
    return 0;
}

bool blx_certificate_is_same_authority(const X509 *a, const X509 *b)
{
    bool same = X509_NAME_cmp(X509_get_subject_name(a), X509_get_subject_name(b)) == 0 &&
                EVP_PKEY_eq(X509_get0_pubkey(a), X509_get0_pubkey(b)) == 1;
    ERR_clear_error();
    return same;
}

bool blx_certificate_is_by(X509 *cert, X509 *ca)
{
    bool is =
        X509_check_issued(ca, cert) == X509_V_OK && X509_verify(cert, X509_get0_pubkey(ca)) == 1;
    ERR_clear_error();
    return is;
}

int blx_certificate_put(const X509 *cert, uint8_t *bytes, uint32_t *count, struct blx_error *err)
{
    unsigned char *out = bytes;
    int length = i2d_X509(cert, NULL);
    if (length <= 0 || length > BLX_CERTIFICATE_MAX_BYTES) {
        ERR_clear_error();
        return blx_error_set(err, -EMSGSIZE, "a certificate of %d bytes is too large to be sent",
                             length);
    }
    if (i2d_X509(cert, &out) != length) {
        ERR_clear_error();
        return blx_error_errno(err, -ENOMEM, "cannot write a certificate");
    }
    *count = (uint32_t)length;
    return 0;
}

X509 *blx_certificate_get(const uint8_t *bytes, uint32_t count)
{
    const unsigned char *at = bytes;
    X509 *cert = d2i_X509(NULL, &at, (long)count);
    ERR_clear_error();
    if (cert != NULL && at == bytes + count)
        return cert;
    X509_free(cert);
    return NULL;
}

bool blx_certificate_is_ageing(const X509 *cert)
{
    const ASN1_TIME *end = X509_get0_notAfter(cert);
    return seconds_between(NULL, end) < seconds_between(X509_get0_notBefore(cert), end) / 3;
}

bool blx_certificate_is_early(const X509 *cert)
{
    return X509_cmp_current_time(X509_get0_notBefore(cert)) > 0;
}

int blx_certificate_fingerprint(const X509 *cert, uint8_t fingerprint[BLX_FINGERPRINT_BYTES],
                                struct blx_error *err)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned bytes = 0;
    if (X509_digest(cert, EVP_sha256(), digest, &bytes) != 1 || bytes != BLX_FINGERPRINT_BYTES)
        return blx_error_set(err, -EIO, "cannot digest a certificate: %s", blx_ssl_reason());
    memcpy(fingerprint, digest, BLX_FINGERPRINT_BYTES);
    return 0;
}

const char *blx_certificate_verdict(int verify_result)
{
    switch (verify_result) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return "has expired (or a clock is wrong)";
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return "is not valid yet (a clock is wrong)";
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        return "was signed by another authority than this side trusts: if the dispatcher's CA was "
               "replaced, have the agent join again (`blxrep dispatcher enroll --token`)";
    case X509_V_ERR_INVALID_PURPOSE:
        return "was not made for this purpose (an agent's cannot act as dispatcher, nor the "
               "dispatcher's as agent)";
    case X509_V_ERR_HOSTNAME_MISMATCH:
        return "names another host than the one that was dialled";
    default:
        return X509_verify_cert_error_string(verify_result);
    }
}
