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
#include "base/io.h"
#include "base/name.h"
#include "base/secret_file.h"
#include "tls/certificate_private.h"
#include "tls/context_private.h"
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

int blx_pki_file_exists(const char *path, bool *exists, struct blx_error *err)
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

int blx_pki_write_cert(const struct blx_pki *pki, const char *name, X509 *cert,
                       struct blx_error *err)
{
    BLX_CLEANUP_BIO BIO *content = BIO_new(BIO_s_mem());
    if (content == NULL || PEM_write_bio_X509(content, cert) != 1)
        return no_memory(err);
    return blx_pki_write(pki, name, content, CERT_MODE, err);
}

static int check_key_file(const char *path, struct blx_error *err)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return blx_error_errno(err, -errno, "cannot look at '%s'", path);
    if ((st.st_mode & 077) == 0)
        return 0;
    return blx_error_set(err, -EPERM,
                         "others may read the key '%s': chmod 600 it, and if somebody may have "
                         "read it, replace the CA with `blxrep dispatcher renew-ca`",
                         path);
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
        rc = blx_pki_file_exists(path, &exists, err);
    if (rc < 0)
        return rc;
    if (exists)
        rc = check_key_file(path, err);
    if (rc < 0 || exists)
        return rc < 0 ? rc : blx_pem_read_key(path, key, err);
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

static int authority_sign_itself(const struct blx_pki *pki, const char *file, const char *name,
                                 struct blx_pki_authority *ca, struct blx_error *err)
{
    BLX_CLEANUP_X509 X509 *made = NULL;
    int rc = blx_certificate_make(BLX_CERTIFICATE_CA, name, ca->key, NULL, ca->key,
                                  BLX_CERTIFICATE_CA_DAYS, &made, err);
    if (rc == 0)
        rc = blx_pki_write_cert(pki, file, made, err);
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
    return authority_sign_itself(pki, "ca.pem", name, ca, err);
}

static int authority_make_cert(const struct blx_pki *pki, const char *file,
                               struct blx_pki_authority *ca, struct blx_error *err)
{
    unsigned char random[4];
    char name[CA_NAME_BYTES];
    if (RAND_bytes(random, sizeof(random)) != 1)
        return blx_error_set(err, -EIO, "cannot get random numbers: %s", blx_ssl_reason());
    /* If two CAs shared a name their certificates would be taken for each other's. */
    snprintf(name, sizeof(name), "blxrep CA %02x%02x%02x%02x", random[0], random[1], random[2],
             random[3]);
    return authority_sign_itself(pki, file, name, ca, err);
}

int blx_pki_authority_make(const struct blx_pki *pki, const char *key_file, const char *cert_file,
                           struct blx_pki_authority *ca, struct blx_error *err)
{
    int rc = pki_key(pki, key_file, false, &ca->key, err);
    return rc < 0 ? rc : authority_make_cert(pki, cert_file, ca, err);
}

static int authority_load(const struct blx_pki *pki, struct blx_pki_authority *ca,
                          struct blx_error *err)
{
    char path[PATH_MAX];
    bool have_cert = false;
    int rc = blx_pki_path(pki, "ca.pem", path, err);
    if (rc == 0)
        rc = blx_pki_file_exists(path, &have_cert, err);
    if (rc == 0)
        rc = pki_key(pki, "ca.key", have_cert, &ca->key, err);
    if (rc < 0)
        return rc;
    if (!have_cert)
        return authority_make_cert(pki, "ca.pem", ca, err);
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
                         "the CA's key '%s/%sca.key' is missing, so nothing new can be signed: put "
                         "it back from the place where it is kept",
                         pki->dir, ca->is_next ? "next/" : "");
}

int blx_pki_dispatcher_make(const struct blx_pki *pki, const struct blx_pki_authority *ca,
                            const char *key_file, const char *cert_file, struct blx_error *err)
{
    int rc = blx_pki_need_key(pki, ca, err);
    if (rc < 0)
        return rc;
    BLX_CLEANUP_KEY EVP_PKEY *key = NULL;
    BLX_CLEANUP_X509 X509 *cert = NULL;
    rc = pki_key(pki, key_file, false, &key, err);
    if (rc == 0)
        rc = blx_certificate_make(BLX_CERTIFICATE_DISPATCHER, BLX_TLS_DISPATCHER_NAME, key,
                                  ca->cert, ca->key, BLX_CERTIFICATE_DAYS, &cert, err);
    if (rc == 0)
        rc = blx_pki_write_cert(pki, cert_file, cert, err);
    return rc;
}

/* The key first. A crash after it leaves two files that do not belong together, and the next look
 * at them makes the certificate again. */
static int dispatcher_renew(const struct blx_pki *pki, const struct blx_pki_authority *ca,
                            struct blx_error *err)
{
    BLX_CLEANUP_KEY EVP_PKEY *key = NULL;
    int rc = blx_pki_need_key(pki, ca, err);
    if (rc == 0)
        rc = blx_certificate_new_key(&key, err);
    if (rc == 0)
        rc = pki_write_key(pki, "dispatcher.key", key, err);
    if (rc == 0)
        rc = blx_pki_dispatcher_make(pki, ca, "dispatcher.key", "dispatcher.pem", err);
    return rc;
}

/* What is to be done with the dispatcher's certificate. */
enum need { NEED_NOTHING, NEED_CERTIFICATE, NEED_RENEWAL };

/* A certificate ends with its CA at the latest: a newer one must last longer. */
static bool can_last_longer(const X509 *cert, const X509 *ca)
{
    return blx_certificate_days_left(ca) > blx_certificate_days_left(cert) + 1;
}

/* A file that cannot be read is left to whoever uses it, who says why. */
static enum need judge(const char *cert_path, const char *key_path,
                       const struct blx_pki_authority *ca)
{
    BLX_CLEANUP_X509 X509 *cert = NULL;
    BLX_CLEANUP_KEY EVP_PKEY *key = NULL;
    if (ca->key == NULL || blx_pem_read_cert(cert_path, &cert, NULL) < 0)
        return NEED_NOTHING;
    if (blx_certificate_is_early(cert))
        return NEED_CERTIFICATE;
    bool apart =
        blx_pem_read_key(key_path, &key, NULL) == 0 && X509_check_private_key(cert, key) != 1;
    ERR_clear_error();
    if (apart)
        return NEED_CERTIFICATE;
    bool old = blx_certificate_days_left(cert) < BLX_CERTIFICATE_DAYS / 3;
    return old && can_last_longer(cert, ca->cert) ? NEED_RENEWAL : NEED_NOTHING;
}

static int dispatcher_ensure(const struct blx_pki *pki, const struct blx_pki_authority *ca,
                             struct blx_error *err)
{
    char path[PATH_MAX], key_path[PATH_MAX];
    bool exists = false;
    int rc = blx_pki_path(pki, "dispatcher.pem", path, err);
    if (rc == 0)
        rc = blx_pki_path(pki, "dispatcher.key", key_path, err);
    if (rc == 0)
        rc = blx_pki_file_exists(path, &exists, err);
    if (rc < 0)
        return rc;
    enum need need = exists ? judge(path, key_path, ca) : NEED_CERTIFICATE;
    if (need == NEED_RENEWAL)
        return dispatcher_renew(pki, ca, err);
    return need == NEED_NOTHING
               ? 0
               : blx_pki_dispatcher_make(pki, ca, "dispatcher.key", "dispatcher.pem", err);
}

int blx_pki_open(const char *data_dir, struct blx_pki *pki, struct blx_pki_authority *ca,
                 struct blx_error *err)
{
    int rc = blx_pki_lock(data_dir, pki, err);
    if (rc == 0)
        rc = blx_pki_roll_finish(pki, err);
    if (rc == 0)
        rc = authority_load(pki, ca, err);
    if (rc == 0)
        rc = dispatcher_ensure(pki, ca, err);
    return rc;
}

int blx_pki_ensure(const char *data_dir, struct blx_error *err)
{
    struct blx_pki pki = {.lock_fd = -1};
    struct blx_pki_authority ca = {.cert = NULL};
    int rc = blx_pki_open(data_dir, &pki, &ca, err);
    blx_pki_authority_done(&ca);
    blx_pki_close(&pki);
    return rc;
}

int blx_pki_renew_dispatcher(const char *data_dir, struct blx_error *err)
{
    struct blx_pki pki = {.lock_fd = -1};
    struct blx_pki_authority ca = {.cert = NULL};
    int rc = blx_pki_open(data_dir, &pki, &ca, err);
    if (rc == 0)
        rc = dispatcher_renew(&pki, &ca, err);
    blx_pki_authority_done(&ca);
    blx_pki_close(&pki);
    return rc;
}

/* A context of the files in DIR/pki, which the lock keeps as they are meanwhile. */
static int load_context(const struct blx_pki *pki, bool rolling, struct blx_tls_context **tls,
                        struct blx_error *err)
{
    char ca[PATH_MAX], next[PATH_MAX], cert[PATH_MAX], key[PATH_MAX];
    const struct blx_tls_files files = {
        .ca = ca, .cert = cert, .key = key, .next_ca = rolling ? next : NULL};
    BLX_CLEANUP_TLS_CONTEXT struct blx_tls_context *made = NULL;
    int rc = blx_pki_path(pki, "ca.pem", ca, err);
    if (rc == 0)
        rc = blx_pki_path(pki, "next/ca.pem", next, err);
    if (rc == 0)
        rc = blx_pki_path(pki, "dispatcher.pem", cert, err);
    if (rc == 0)
        rc = blx_pki_path(pki, "dispatcher.key", key, err);
    if (rc == 0)
        rc = blx_tls_context_new_server(&files, &made, err);
    if (rc == 0)
        rc = blx_tls_context_admit_tokens(made, ca, err);
    if (rc == 0)
        *tls = blx_take_ptr(made);
    return rc;
}

int blx_pki_load_server(const char *data_dir, struct blx_pki_server *server, struct blx_error *err)
{
    struct blx_pki pki = {.lock_fd = -1};
    struct blx_pki_authority ca = {.cert = NULL}, next = {.cert = NULL};
    struct blx_pki_server loaded = {.tls = NULL};
    int rc = blx_pki_open(data_dir, &pki, &ca, err);
    if (rc == 0)
        rc = blx_pki_roll_load(&pki, &next, &loaded.authority, err);
    X509 *newest = next.cert != NULL ? next.cert : ca.cert;
    if (rc == 0)
        rc = blx_certificate_put(newest, loaded.authority.ca, &loaded.authority.ca_bytes, err);
    if (rc == 0)
        rc = blx_certificate_fingerprint(newest, loaded.ca_fingerprint, err);
    if (rc == 0)
        rc = load_context(&pki, next.cert != NULL, &loaded.tls, err);
    if (rc == 0) {
        loaded.ends_s = blx_certificate_ends_s(blx_tls_context_cert(loaded.tls));
        loaded.ca_ends_s = blx_certificate_ends_s(ca.cert);
        *server = loaded;
    }
    blx_pki_authority_done(&next);
    blx_pki_authority_done(&ca);
    blx_pki_close(&pki);
    return rc;
}

static int read_end(const struct blx_pki *pki, const char *name, uint64_t *ends_s,
                    struct blx_error *err)
{
    char path[PATH_MAX];
    BLX_CLEANUP_X509 X509 *cert = NULL;
    int rc = blx_pki_path(pki, name, path, err);
    if (rc == 0)
        rc = blx_pem_read_cert(path, &cert, err);
    if (rc == 0)
        *ends_s = blx_certificate_ends_s(cert);
    return rc;
}

int blx_pki_look_server(const char *data_dir, struct blx_pki_server *server, struct blx_error *err)
{
    struct blx_pki pki = {.lock_fd = -1};
    char next[PATH_MAX];
    bool rolling = false;
    *server = (struct blx_pki_server){.tls = NULL};
    int rc = blx_path_format(pki.dir, sizeof(pki.dir), err, "%s/pki", data_dir);
    if (rc == 0)
        rc = read_end(&pki, "ca.pem", &server->ca_ends_s, err);
    if (rc == 0)
        rc = read_end(&pki, "dispatcher.pem", &server->ends_s, err);
    if (rc == 0)
        rc = blx_pki_path(&pki, "next/ca.pem", next, err);
    if (rc == 0)
        rc = blx_pki_file_exists(next, &rolling, err);
    return rc == 0 ? load_context(&pki, rolling, &server->tls, err) : rc;
}

int blx_pki_sign_agent(const struct blx_pki *pki, const struct blx_pki_authority *ca,
                       const char *agent_id, EVP_PKEY *key, const struct blx_pki_signing *signing,
                       X509 **cert, struct blx_error *err)
{
    BLX_CLEANUP_X509 X509 *made = NULL;
    char serial[BLX_SERIAL_TEXT_BYTES];
    blx_assert(pki->lock_fd >= 0);
    int rc = blx_pki_need_key(pki, ca, err);
    if (rc == 0)
        rc = blx_certificate_make(BLX_CERTIFICATE_AGENT, agent_id, key, ca->cert, ca->key,
                                  signing->days, &made, err);
    if (rc == 0)
        rc = blx_certificate_serial(made, serial, err);
    if (rc == 0)
        rc = blx_revocation_except(pki, agent_id, serial, err);
    if (rc == 0 && !blx_certificate_is_copiers(agent_id))
        rc = blx_handover_except(pki, agent_id, serial, signing->right, err);
    if (rc == 0)
        *cert = blx_take_ptr(made);
    return rc;
}

int blx_pki_copier_subject(const char *name, char subject[BLX_NAME_BYTES], struct blx_error *err)
{
    int rc = blx_name_check("copier's name", name, err);
    if (rc < 0)
        return rc;
    if (strlen(name) >= BLX_COPIER_NAME_BYTES)
        return blx_error_set(err, -EINVAL, "the copier's name '%s' has more than %d characters",
                             name, (int)BLX_COPIER_NAME_BYTES - 1);
    snprintf(subject, BLX_NAME_BYTES, "%s%s", BLX_TLS_COPIER_PREFIX, name);
    return 0;
}

/* During a grace period the successor signs, and the bundle trusts both. A copier's ID is its
 * common name, by which no handover is known. */
static int bundle_with(const struct blx_pki *pki, const struct blx_pki_authority *ca,
                       const char *agent_id, BIO **bundle, struct blx_error *err)
{
    BLX_CLEANUP_KEY EVP_PKEY *key = NULL;
    BLX_CLEANUP_X509 X509 *cert = NULL;
    BLX_CLEANUP(blx_pki_authority_done) struct blx_pki_authority next = {.cert = NULL};
    BLX_CLEANUP_X509_LIST struct stack_st_X509 *before = sk_X509_new_null();
    const struct blx_pki_signing signing = {.days = BLX_CERTIFICATE_DAYS,
                                            .right = BLX_HANDOVER_BY_HAND};
    if (before == NULL || sk_X509_push(before, ca->cert) <= 0)
        return no_memory(err);
    int rc = blx_pki_roll_load(pki, &next, NULL, err);
    if (rc == 0)
        rc = blx_certificate_new_key(&key, err);
    const struct blx_pki_authority *signer = next.cert != NULL ? &next : ca;
    if (rc == 0)
        rc = blx_pki_sign_agent(pki, signer, agent_id, key, &signing, &cert, err);
    if (rc == 0)
        rc = blx_credentials_format(key, cert, signer->cert, next.cert != NULL ? before : NULL,
                                    bundle, err);
    return rc;
}

static int make_bundle(const char *data_dir, const char *common_name, struct blx_pki_bundle *bundle,
                       struct blx_error *err)
{
    BLX_CLEANUP_BIO BIO *made = NULL;
    struct blx_pki pki = {.lock_fd = -1};
    struct blx_pki_authority ca = {.cert = NULL};
    char *content = NULL;
    int rc = blx_pki_open(data_dir, &pki, &ca, err);
    if (rc == 0)
        rc = bundle_with(&pki, &ca, common_name, &made, err);
    blx_pki_authority_done(&ca);
    blx_pki_close(&pki);
    if (rc < 0)
        return rc;
    long bytes = BIO_get_mem_data(made, &content);
    if (bytes <= 0 || bytes > (long)sizeof(bundle->pem))
        return blx_error_set(err, -EMSGSIZE, "credentials of %ld bytes are too large", bytes);
    memcpy(bundle->pem, content, (size_t)bytes);
    bundle->bytes = (size_t)bytes;
    return 0;
}

int blx_pki_make_bundle(const char *data_dir, const char *agent_id, struct blx_pki_bundle *bundle,
                        struct blx_error *err)
{
    int rc = blx_name_check("agent ID", agent_id, err);
    return rc < 0 ? rc : make_bundle(data_dir, agent_id, bundle, err);
}

int blx_pki_make_copier(const char *data_dir, const char *name, struct blx_pki_bundle *bundle,
                        struct blx_error *err)
{
    char subject[BLX_NAME_BYTES];
    int rc = blx_pki_copier_subject(name, subject, err);
    return rc < 0 ? rc : make_bundle(data_dir, subject, bundle, err);
}

int blx_pki_enroll(const char *data_dir, const char *agent_id, const char *output_path,
                   struct blx_error *err)
{
    struct blx_pki_bundle bundle = {.bytes = 0};
    int rc = blx_secret_file_check(output_path, BLX_PKI_WAY_OUT, err);
    if (rc == 0)
        rc = blx_pki_make_bundle(data_dir, agent_id, &bundle, err);
    if (rc == 0)
        rc = blx_secret_file_write(output_path, bundle.pem, bundle.bytes, BLX_PKI_WAY_OUT, err);
    OPENSSL_cleanse(&bundle, sizeof(bundle));
    return rc;
}
