/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/pki.h"

#include <errno.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/name.h"
#include "base/secret_file.h"
#include "tls/certificate_private.h"
#include "tls/credentials_private.h"
#include "tls/pem_private.h"
#include "tls/pki_private.h"
#include "tls/revocation_private.h"
#include "tls/tls.h"
#include "wire/ssl_error.h"

enum { CERT_MODE = 0644, CA_NAME_BYTES = 32 };

void blx_pki_authority_done(struct blx_pki_authority *ca)
{
    X509_free(ca->cert);
    EVP_PKEY_free(ca->key);
}

static int file_exists(const char *path, bool *exists, struct blx_error *err)
{
    struct stat st;
    int rc = lstat(path, &st) < 0 ? -errno : 0;
    if (rc < 0 && rc != -ENOENT)
        return blx_error_errno(err, rc, "cannot look at '%s'", path);
    *exists = rc == 0;
    return 0;
}

static int no_memory(struct blx_error *err)
{
    ERR_clear_error();
    return blx_error_errno(err, -ENOMEM, "cannot make a certificate");
}

static int pki_write_key(const struct blx_pki *pki, const char *name, EVP_PKEY *key,
                         struct blx_error *err)
{
    /* Memory that is wiped when it is freed. */
    BLX_CLEANUP_BIO BIO *content = BIO_new(BIO_s_secmem());
    if (content == NULL || PEM_write_bio_PrivateKey(content, key, NULL, NULL, 0, NULL, NULL) != 1)
        return no_memory(err);
    return blx_pki_write(pki, name, content, BLX_PKI_PRIVATE_MODE, err);
}

static int pki_write_cert(const struct blx_pki *pki, const char *name, X509 *cert,
                          struct blx_error *err)
{
    BLX_CLEANUP_BIO BIO *content = BIO_new(BIO_s_mem());
    if (content == NULL || PEM_write_bio_X509(content, cert) != 1)
        return no_memory(err);
    return blx_pki_write(pki, name, content, CERT_MODE, err);
}

/* Loads the key, or makes it if neither it nor its certificate exists. Leaves NULL if only the
 * certificate does. */
static int pki_key(const struct blx_pki *pki, const char *name, bool have_cert, EVP_PKEY **key,
                   struct blx_error *err)
{
    char path[PATH_MAX];
    bool exists = false;
    int rc = blx_pki_path(pki, name, path, err);
    if (rc == 0)
        rc = file_exists(path, &exists, err);
    if (rc < 0)
        return rc;
    if (exists)
        return blx_pem_read_key(path, key, err);
    if (have_cert)
        return 0;
    BLX_CLEANUP_KEY EVP_PKEY *made = NULL;
    rc = blx_certificate_new_key(&made, err);
    if (rc == 0)
        rc = pki_write_key(pki, name, made, err);
    if (rc == 0)
        *key = blx_take_ptr(made);
    return rc;
}

static int authority_sign_itself(const struct blx_pki *pki, const char *name,
                                 struct blx_pki_authority *ca, struct blx_error *err)
{
    BLX_CLEANUP_X509 X509 *made = NULL;
    int rc = blx_certificate_make(BLX_CERTIFICATE_CA, name, ca->key, NULL, ca->key,
                                  BLX_CERTIFICATE_CA_DAYS, &made, err);
    if (rc == 0)
        rc = pki_write_cert(pki, "ca.pem", made, err);
    if (rc < 0)
        return rc;
    X509_free(ca->cert);
    ca->cert = blx_take_ptr(made);
    return 0;
}

/* What the CA has signed stays good: the key and the name are the same. */
static int authority_make_again(const struct blx_pki *pki, struct blx_pki_authority *ca,
                                struct blx_error *err)
{
    char name[CA_NAME_BYTES];
    if (X509_NAME_get_text_by_NID(X509_get_subject_name(ca->cert), NID_commonName, name,
                                  sizeof(name)) <= 0)
        return 0; /* not one of ours */
    return authority_sign_itself(pki, name, ca, err);
}

static int authority_make_cert(const struct blx_pki *pki, struct blx_pki_authority *ca,
                               struct blx_error *err)
{
    unsigned char random[4];
    char name[CA_NAME_BYTES];
    if (RAND_bytes(random, sizeof(random)) != 1)
        return blx_error_set(err, -EIO, "cannot get random numbers: %s", blx_ssl_reason());
    /* If two CAs shared a name their certificates would be taken for each other's. */
    snprintf(name, sizeof(name), "blxrep CA %02x%02x%02x%02x", random[0], random[1], random[2],
             random[3]);
    return authority_sign_itself(pki, name, ca, err);
}

static int authority_load(const struct blx_pki *pki, struct blx_pki_authority *ca,
                          struct blx_error *err)
{
    char path[PATH_MAX];
    bool have_cert = false;
    int rc = blx_pki_path(pki, "ca.pem", path, err);
    if (rc == 0)
        rc = file_exists(path, &have_cert, err);
    if (rc == 0)
        rc = pki_key(pki, "ca.key", have_cert, &ca->key, err);
    if (rc < 0)
        return rc;
    if (!have_cert)
        return authority_make_cert(pki, ca, err);
    rc = blx_pem_read_cert(path, &ca->cert, err);
    if (rc == 0 && ca->key != NULL && X509_check_private_key(ca->cert, ca->key) != 1) {
        ERR_clear_error();
        rc = blx_error_set(err, -EINVAL, "'%s' and 'ca.key' next to it do not belong together",
                           path);
    }
    if (rc == 0 && ca->key != NULL && blx_certificate_is_early(ca->cert))
        rc = authority_make_again(pki, ca, err);
    return rc;
}

int blx_pki_need_key(const struct blx_pki *pki, const struct blx_pki_authority *ca,
                     struct blx_error *err)
{
    if (ca->key != NULL)
        return 0;
    return blx_error_set(err, -ENOENT,
                         "the CA's key '%s/ca.key' is missing, so nothing new can be signed: put "
                         "it back from the place where it is kept",
                         pki->dir);
}

static int dispatcher_make(const struct blx_pki *pki, const struct blx_pki_authority *ca,
                           struct blx_error *err)
{
    int rc = blx_pki_need_key(pki, ca, err);
    if (rc < 0)
        return rc;
    BLX_CLEANUP_KEY EVP_PKEY *key = NULL;
    BLX_CLEANUP_X509 X509 *cert = NULL;
    rc = pki_key(pki, "dispatcher.key", false, &key, err);
    if (rc == 0)
        rc = blx_certificate_make(BLX_CERTIFICATE_DISPATCHER, BLX_TLS_DISPATCHER_NAME, key,
                                  ca->cert, ca->key, BLX_CERTIFICATE_DAYS, &cert, err);
    if (rc == 0)
        rc = pki_write_cert(pki, "dispatcher.pem", cert, err);
    return rc;
}

/* A file that cannot be read is left to whoever uses it, who says why. */
static bool is_to_be_made_again(const char *path, const struct blx_pki_authority *ca)
{
    BLX_CLEANUP_X509 X509 *cert = NULL;
    return ca->key != NULL && blx_pem_read_cert(path, &cert, NULL) == 0 &&
           blx_certificate_is_early(cert);
}

static int dispatcher_ensure(const struct blx_pki *pki, const struct blx_pki_authority *ca,
                             struct blx_error *err)
{
    char path[PATH_MAX];
    bool exists = false;
    int rc = blx_pki_path(pki, "dispatcher.pem", path, err);
    if (rc == 0)
        rc = file_exists(path, &exists, err);
    if (rc < 0 || (exists && !is_to_be_made_again(path, ca)))
        return rc;
    return dispatcher_make(pki, ca, err);
}

int blx_pki_open(const char *data_dir, struct blx_pki *pki, struct blx_pki_authority *ca,
                 struct blx_error *err)
{
    int rc = blx_pki_lock(data_dir, pki, err);
    if (rc == 0)
        rc = authority_load(pki, ca, err);
    if (rc == 0)
        rc = dispatcher_ensure(pki, ca, err);
    return rc;
}

int blx_pki_ensure(const char *data_dir, struct blx_error *err)
{
    struct blx_pki pki = {.lock_fd = -1};
    struct blx_pki_authority ca = {NULL, NULL};
    int rc = blx_pki_open(data_dir, &pki, &ca, err);
    blx_pki_authority_done(&ca);
    blx_pki_close(&pki);
    return rc;
}

int blx_pki_sign_agent(const struct blx_pki *pki, const struct blx_pki_authority *ca,
                       const char *agent_id, EVP_PKEY *key, int days, X509 **cert,
                       struct blx_error *err)
{
    BLX_CLEANUP_X509 X509 *made = NULL;
    char serial[BLX_SERIAL_TEXT_BYTES];
    blx_assert(pki->lock_fd >= 0);
    int rc = blx_pki_need_key(pki, ca, err);
    if (rc == 0)
        rc = blx_certificate_make(BLX_CERTIFICATE_AGENT, agent_id, key, ca->cert, ca->key, days,
                                  &made, err);
    if (rc == 0)
        rc = blx_certificate_serial(made, serial, err);
    if (rc == 0)
        rc = blx_revocation_except(pki, agent_id, serial, err);
    if (rc == 0)
        *cert = blx_take_ptr(made);
    return rc;
}

static const char enroll_way_out[] = "remove it, or name another --output";

static int enroll_with(const struct blx_pki *pki, const struct blx_pki_authority *ca,
                       const char *agent_id, const char *output_path, struct blx_error *err)
{
    BLX_CLEANUP_KEY EVP_PKEY *key = NULL;
    BLX_CLEANUP_X509 X509 *cert = NULL;
    int rc = blx_certificate_new_key(&key, err);
    if (rc == 0)
        rc = blx_pki_sign_agent(pki, ca, agent_id, key, BLX_CERTIFICATE_DAYS, &cert, err);
    if (rc == 0)
        rc = blx_credentials_write(output_path, key, cert, ca->cert, enroll_way_out, err);
    return rc;
}

int blx_pki_enroll(const char *data_dir, const char *agent_id, const char *output_path,
                   struct blx_error *err)
{
    int rc = blx_name_check("agent ID", agent_id, err);
    if (rc == 0)
        rc = blx_secret_file_check(output_path, enroll_way_out, err);
    if (rc < 0)
        return rc;
    struct blx_pki pki = {.lock_fd = -1};
    struct blx_pki_authority ca = {NULL, NULL};
    rc = blx_pki_open(data_dir, &pki, &ca, err);
    if (rc == 0)
        rc = enroll_with(&pki, &ca, agent_id, output_path, err);
    blx_pki_authority_done(&ca);
    blx_pki_close(&pki);
    return rc;
}
