/* SPDX-License-Identifier: Apache-2.0 */
#include "openssl.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "counter.h"

static struct fault_counter counter;

void openssl_arm(unsigned after, bool for_ever)
{
    fault_counter_arm(&counter, after, for_ever);
}

bool openssl_disarm(void)
{
    return fault_counter_disarm(&counter);
}

/* The linker gives these names; nobody else declares them. CMakeLists.txt has the same list. */
#define WRAP(type, failure, name, parameters, arguments)                                           \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return fault_counter_hit(&counter, ENOMEM) ? (failure) : __real_##name arguments;          \
    }

/* Keys. lib makes those of a named curve alone. */
EVP_PKEY *__real_EVP_PKEY_Q_keygen(OSSL_LIB_CTX *library, const char *properties, const char *type,
                                   ...);
EVP_PKEY *__wrap_EVP_PKEY_Q_keygen(OSSL_LIB_CTX *library, const char *properties, const char *type,
                                   const char *curve);
EVP_PKEY *__wrap_EVP_PKEY_Q_keygen(OSSL_LIB_CTX *library, const char *properties, const char *type,
                                   const char *curve)
{
    return fault_counter_hit(&counter, ENOMEM)
               ? NULL
               : __real_EVP_PKEY_Q_keygen(library, properties, type, curve);
}

/* Certificates and requests. */
WRAP(X509 *, NULL, X509_new, (void), ())
WRAP(int, 0, X509_set_version, (X509 * cert, long version), (cert, version))
WRAP(BIGNUM *, NULL, BN_new, (void), ())
WRAP(int, 0, BN_rand, (BIGNUM * number, int bits, int top, int bottom), (number, bits, top, bottom))
WRAP(ASN1_INTEGER *, NULL, BN_to_ASN1_INTEGER, (const BIGNUM *number, ASN1_INTEGER *to),
     (number, to))
WRAP(int, 0, X509_NAME_add_entry_by_NID,
     (X509_NAME * name, int nid, int type, const unsigned char *bytes, int length, int at, int set),
     (name, nid, type, bytes, length, at, set))
WRAP(ASN1_TIME *, NULL, X509_gmtime_adj, (ASN1_TIME * when, long seconds), (when, seconds))
WRAP(ASN1_TIME *, NULL, X509_time_adj_ex, (ASN1_TIME * when, int days, long seconds, time_t *from),
     (when, days, seconds, from))
WRAP(int, 0, X509_set_issuer_name, (X509 * cert, const X509_NAME *name), (cert, name))
WRAP(int, 0, X509_set_pubkey, (X509 * cert, EVP_PKEY *key), (cert, key))
WRAP(X509_EXTENSION *, NULL, X509V3_EXT_conf_nid,
     (LHASH_OF(CONF_VALUE) * conf, X509V3_CTX *context, int nid, const char *value),
     (conf, context, nid, value))
WRAP(int, 0, X509_add_ext, (X509 * cert, X509_EXTENSION *extension, int at), (cert, extension, at))
WRAP(int, 0, X509_sign, (X509 * cert, EVP_PKEY *key, const EVP_MD *digest), (cert, key, digest))
WRAP(int, -1, ASN1_STRING_to_UTF8, (unsigned char **text, const ASN1_STRING *from), (text, from))
WRAP(BIGNUM *, NULL, ASN1_INTEGER_to_BN, (const ASN1_INTEGER *from, BIGNUM *to), (from, to))
WRAP(char *, NULL, BN_bn2hex, (const BIGNUM *number), (number))
WRAP(int, 0, X509_digest,
     (const X509 *cert, const EVP_MD *type, unsigned char *digest, unsigned *bytes),
     (cert, type, digest, bytes))
WRAP(X509_REQ *, NULL, X509_REQ_new, (void), ())
WRAP(int, 0, X509_REQ_set_version, (X509_REQ * request, long version), (request, version))
WRAP(int, 0, X509_REQ_set_pubkey, (X509_REQ * request, EVP_PKEY *key), (request, key))
WRAP(int, 0, X509_REQ_sign, (X509_REQ * request, EVP_PKEY *key, const EVP_MD *digest),
     (request, key, digest))
WRAP(int, -1, i2d_X509_REQ, (const X509_REQ *request, unsigned char **out), (request, out))
WRAP(X509_REQ *, NULL, d2i_X509_REQ, (X509_REQ * *to, const unsigned char **from, long bytes),
     (to, from, bytes))
WRAP(EVP_PKEY *, NULL, X509_REQ_get_pubkey, (X509_REQ * request), (request))
WRAP(int, -1, X509_REQ_verify, (X509_REQ * request, EVP_PKEY *key), (request, key))

/* PEM. */
WRAP(BIO *, NULL, BIO_new, (const BIO_METHOD *method), (method))
WRAP(BIO *, NULL, BIO_new_mem_buf, (const void *bytes, int length), (bytes, length))
WRAP(int, 0, PEM_write_bio_PrivateKey,
     (BIO * out, const EVP_PKEY *key, const EVP_CIPHER *cipher, const unsigned char *pass,
      int bytes, pem_password_cb *ask, void *arg),
     (out, key, cipher, pass, bytes, ask, arg))
WRAP(int, 0, PEM_write_bio_X509, (BIO * out, const X509 *cert), (out, cert))
WRAP(EVP_PKEY *, NULL, PEM_read_bio_PrivateKey,
     (BIO * in, EVP_PKEY **key, pem_password_cb *ask, void *arg), (in, key, ask, arg))
WRAP(X509 *, NULL, PEM_read_bio_X509, (BIO * in, X509 **cert, pem_password_cb *ask, void *arg),
     (in, cert, ask, arg))
WRAP(OPENSSL_STACK *, NULL, OPENSSL_sk_new_null, (void), ())
WRAP(int, 0, OPENSSL_sk_push, (OPENSSL_STACK * stack, const void *entry), (stack, entry))

/* Contexts. */
WRAP(SSL_CTX *, NULL, SSL_CTX_new, (const SSL_METHOD *method), (method))
WRAP(int, 1, SSL_CTX_set_alpn_protos, (SSL_CTX * ssl, const unsigned char *names, unsigned bytes),
     (ssl, names, bytes))

/* Digests, keys and ciphers. */
WRAP(int, 0, RAND_bytes, (unsigned char *bytes, int count), (bytes, count))
WRAP(int, 0, RAND_priv_bytes, (unsigned char *bytes, int count), (bytes, count))
WRAP(unsigned char *, NULL, SHA256,
     (const unsigned char *data, size_t bytes, unsigned char *digest), (data, bytes, digest))
WRAP(EVP_KDF *, NULL, EVP_KDF_fetch,
     (OSSL_LIB_CTX * library, const char *algorithm, const char *properties),
     (library, algorithm, properties))
WRAP(EVP_KDF_CTX *, NULL, EVP_KDF_CTX_new, (EVP_KDF * kdf), (kdf))
WRAP(int, 0, EVP_KDF_derive,
     (EVP_KDF_CTX * context, unsigned char *key, size_t bytes, const OSSL_PARAM params[]),
     (context, key, bytes, params))
WRAP(int, 0, EVP_EncryptInit_ex,
     (EVP_CIPHER_CTX * context, const EVP_CIPHER *type, ENGINE *engine, const unsigned char *key,
      const unsigned char *iv),
     (context, type, engine, key, iv))
WRAP(int, 0, EVP_EncryptUpdate,
     (EVP_CIPHER_CTX * context, unsigned char *out, int *done, const unsigned char *in, int bytes),
     (context, out, done, in, bytes))
WRAP(int, 0, EVP_EncryptFinal_ex, (EVP_CIPHER_CTX * context, unsigned char *out, int *done),
     (context, out, done))
WRAP(int, 0, EVP_CipherInit_ex,
     (EVP_CIPHER_CTX * context, const EVP_CIPHER *type, ENGINE *engine, const unsigned char *key,
      const unsigned char *iv, int encrypt),
     (context, type, engine, key, iv, encrypt))
WRAP(int, 0, EVP_CipherUpdate,
     (EVP_CIPHER_CTX * context, unsigned char *out, int *done, const unsigned char *in, int bytes),
     (context, out, done, in, bytes))
WRAP(int, 0, EVP_CIPHER_CTX_ctrl, (EVP_CIPHER_CTX * context, int type, int number, void *arg),
     (context, type, number, arg))
WRAP(int, 0, EVP_DigestInit_ex2,
     (EVP_MD_CTX * context, const EVP_MD *type, const OSSL_PARAM params[]), (context, type, params))
WRAP(int, 0, EVP_DigestUpdate, (EVP_MD_CTX * context, const void *data, size_t bytes),
     (context, data, bytes))
WRAP(int, 0, EVP_DigestFinal_ex, (EVP_MD_CTX * context, unsigned char *digest, unsigned *bytes),
     (context, digest, bytes))
