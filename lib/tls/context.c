/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/context_private.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "tls/certificate_private.h"
#include "tls/pem_private.h"
#include "tls/tls.h"
#include "wire/ssl_error.h"

/* ALPN's form: the length before each name. Those with a certificate come first, since a server
 * may admit no tokens. */
static const unsigned char alpn[] = "\x08" BLX_TLS_ALPN "\x0d" BLX_TLS_COPY_ALPN
                                    "\x0d" BLX_TLS_JOIN_ALPN "\x10" BLX_TLS_RESTORE_ALPN;
enum {
    ALPN_COPY = sizeof(BLX_TLS_ALPN), /* where each name begins, after the session's */
    ALPN_JOIN = ALPN_COPY + sizeof(BLX_TLS_COPY_ALPN),
    ALPN_RESTORE = ALPN_JOIN + sizeof(BLX_TLS_JOIN_ALPN),
    ALPN_BYTES = sizeof(alpn) - 1,
};
_Static_assert(sizeof(BLX_TLS_ALPN) - 1 == 0x08, "the length in alpn[]");
_Static_assert(sizeof(BLX_TLS_COPY_ALPN) - 1 == 0x0d, "the length in alpn[]");
_Static_assert(sizeof(BLX_TLS_JOIN_ALPN) - 1 == 0x0d, "the length in alpn[]");
_Static_assert(sizeof(BLX_TLS_RESTORE_ALPN) - 1 == 0x10, "the length in alpn[]");

/* An errand's part of alpn[], as a client offers it. */
static int offer(SSL_CTX *ssl, enum blx_tls_errand errand)
{
    switch (errand) {
    case BLX_TLS_COPY:
        return SSL_CTX_set_alpn_protos(ssl, alpn + ALPN_COPY, ALPN_JOIN - ALPN_COPY);
    case BLX_TLS_JOIN:
        return SSL_CTX_set_alpn_protos(ssl, alpn + ALPN_JOIN, ALPN_RESTORE - ALPN_JOIN);
    case BLX_TLS_RESTORE:
        return SSL_CTX_set_alpn_protos(ssl, alpn + ALPN_RESTORE, ALPN_BYTES - ALPN_RESTORE);
    default:
        return SSL_CTX_set_alpn_protos(ssl, alpn, ALPN_COPY);
    }
}

const char *blx_tls_errand_alpn(enum blx_tls_errand errand)
{
    return errand == BLX_TLS_JOIN      ? BLX_TLS_JOIN_ALPN
           : errand == BLX_TLS_RESTORE ? BLX_TLS_RESTORE_ALPN
           : errand == BLX_TLS_COPY    ? BLX_TLS_COPY_ALPN
                                       : BLX_TLS_ALPN;
}

struct blx_tls_context *blx_tls_context_share(struct blx_tls_context *context)
{
    atomic_fetch_add(&context->users, 1);
    return context;
}

void blx_tls_context_free(struct blx_tls_context *context)
{
    if (context == NULL || atomic_fetch_sub(&context->users, 1) > 1)
        return;
    SSL_CTX_free(context->ssl);
    X509_free(context->token_ca);
    free(context);
}

/* Without this a client that offers no ALPN at all would get through, because OpenSSL calls
 * alpn_select() only if there is an offer. */
static int hello_needs_alpn(SSL *ssl, int *alert, void *arg)
{
    (void)arg;
    const unsigned char *offer = NULL;
    size_t bytes = 0;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &offer,
                                  &bytes) == 1)
        return SSL_CLIENT_HELLO_SUCCESS;
    *alert = SSL_AD_NO_APPLICATION_PROTOCOL;
    return SSL_CLIENT_HELLO_ERROR;
}

static int alpn_select(SSL *ssl, const unsigned char **chosen, unsigned char *chosen_bytes,
                       const unsigned char *offer, unsigned int offer_bytes, void *arg)
{
    const struct blx_tls_context *context = arg;
    unsigned known_bytes = context->token_ca == NULL ? ALPN_JOIN : ALPN_BYTES;
    unsigned char *found = NULL;
    if (SSL_select_next_proto(&found, chosen_bytes, alpn, known_bytes, offer, offer_bytes) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *chosen = found;
    if (found < alpn + ALPN_JOIN)
        return SSL_TLSEXT_ERR_OK;
    /* With a token: the client has no certificate, and knows only the CA's fingerprint. */
    SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL);
    return SSL_add1_chain_cert(ssl, context->token_ca) == 1 ? SSL_TLSEXT_ERR_OK
                                                            : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static bool names(X509 *cert, const char *host)
{
    const unsigned flags =
        X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;
    return X509_check_ip_asc(cert, host, 0) == 1 ||
           X509_check_host(cert, host, strlen(host), flags, NULL) == 1;
}

int blx_tls_verify_dispatcher(int ok, X509_STORE_CTX *store)
{
    if (ok != 1 || X509_STORE_CTX_get_error_depth(store) != 0)
        return ok;
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    const char *host = SSL_get_app_data(ssl);
    X509 *cert = X509_STORE_CTX_get_current_cert(store);
    /*
     * The fixed name is accepted besides the dialled one, for dispatchers whose address changes.
     * Only a CA that somebody chose to trust can have signed it, and a public CA never signs a name
     * under .internal.
     */
    if (host != NULL && (names(cert, host) || names(cert, BLX_TLS_DISPATCHER_NAME)))
        return 1;
    X509_STORE_CTX_set_error(store, X509_V_ERR_HOSTNAME_MISMATCH);
    return 0;
}

static X509 *find_pinned(const struct stack_st_X509 *certs, const uint8_t *fingerprint)
{
    for (int i = 0; i < sk_X509_num(certs); i++) {
        uint8_t own[BLX_FINGERPRINT_BYTES];
        X509 *cert = sk_X509_value(certs, i);
        if (blx_certificate_fingerprint(cert, own, NULL) == 0 &&
            CRYPTO_memcmp(own, fingerprint, sizeof(own)) == 0)
            return cert;
    }
    return NULL;
}

/* The verdict of `trusted` on a certificate; `purpose` is "ssl_server" or "ssl_client". */
static int verify_in(X509_STORE *trusted, X509 *leaf, struct stack_st_X509 *chain,
                     const char *purpose)
{
    X509_STORE_CTX *check = X509_STORE_CTX_new();
    int verdict = X509_V_ERR_OUT_OF_MEM;
    if (check != NULL && X509_STORE_CTX_init(check, trusted, leaf, chain) == 1 &&
        X509_STORE_CTX_set_default(check, purpose) == 1)
        verdict = X509_verify_cert(check) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(check);
    X509_STORE_CTX_free(check);
    ERR_clear_error();
    return verdict;
}

/* The verdict of one CA alone. */
static int verify_by(X509 *ca, X509 *leaf, const char *purpose)
{
    X509_STORE *trusted = X509_STORE_new();
    int verdict = X509_V_ERR_OUT_OF_MEM;
    if (trusted != NULL && X509_STORE_add_cert(trusted, ca) == 1)
        verdict = verify_in(trusted, leaf, NULL, purpose);
    X509_STORE_free(trusted);
    ERR_clear_error();
    return verdict;
}

/* The check of a client with a token: the CA that the dispatcher shows must be the token's, and
 * must have signed the dispatcher's certificate; that CA makes only one. */
static int verify_pinned(X509_STORE_CTX *store, void *arg)
{
    const struct blx_tls_context *context = arg;
    X509 *leaf = X509_STORE_CTX_get0_cert(store);
    X509 *ca = find_pinned(X509_STORE_CTX_get0_untrusted(store), context->ca_fingerprint);
    int verdict = ca == NULL ? X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY
                             : verify_by(ca, leaf, "ssl_server");
    if (verdict == X509_V_OK && !names(leaf, BLX_TLS_DISPATCHER_NAME))
        verdict = X509_V_ERR_HOSTNAME_MISMATCH;
    X509_STORE_CTX_set_error(store, verdict);
    return verdict == X509_V_OK;
}

static bool configure(SSL_CTX *ssl, struct blx_tls_context *context)
{
    bool server = context->server;
    SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                       server ? NULL : blx_tls_verify_dispatcher);
    if (SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION) != 1)
        return false;
    if (!server && blx_tls_errand_has_token(context->errand))
        SSL_CTX_set_cert_verify_callback(ssl, verify_pinned, context);
    if (!server)
        return offer(ssl, context->errand) == 0;
    SSL_CTX_set_client_hello_cb(ssl, hello_needs_alpn, NULL);
    SSL_CTX_set_alpn_select_cb(ssl, alpn_select, context);
    return SSL_CTX_set_num_tickets(ssl, 0) == 1;
}

static int no_memory(struct blx_error *err)
{
    ERR_clear_error();
    return blx_error_errno(err, -ENOMEM, "cannot set up TLS");
}

/* A bundle has other certificates too; only those that may sign are trusted. */
static int load_ca(SSL_CTX *ssl, const char *path, struct blx_error *err)
{
    BLX_CLEANUP_X509_STACK struct stack_st_X509 *certs = NULL;
    int rc = blx_pem_read_certs(path, &certs, err);
    if (rc < 0)
        return rc;
    X509_STORE *store = SSL_CTX_get_cert_store(ssl);
    int trusted = 0;
    for (int i = 0; i < sk_X509_num(certs); i++) {
        X509 *cert = sk_X509_value(certs, i);
        if (X509_check_ca(cert) <= 0)
            continue;
        if (X509_STORE_add_cert(store, cert) != 1)
            return no_memory(err);
        trusted++;
    }
    /* A certificate whose extensions make no sense does not count as a CA. OpenSSL keeps the reason
     * in its queue, where a later failure would be reported with it. */
    ERR_clear_error();
    if (trusted == 0)
        return blx_error_set(err, -EINVAL, "'%s' has no certificate of an authority (CA)", path);
    return 0;
}

/* The first certificate is our own. Those of the others that are not roots help the other side to
 * find its root. */
static int load_cert(SSL_CTX *ssl, const char *path, struct blx_error *err)
{
    BLX_CLEANUP_X509_STACK struct stack_st_X509 *certs = NULL;
    int rc = blx_pem_read_certs(path, &certs, err);
    if (rc < 0)
        return rc;
    if (SSL_CTX_use_certificate(ssl, sk_X509_value(certs, 0)) != 1)
        return blx_error_set(err, -EINVAL, "the certificate in '%s' cannot be used: %s", path,
                             blx_ssl_reason());
    for (int i = 1; i < sk_X509_num(certs); i++) {
        X509 *cert = sk_X509_value(certs, i);
        bool root = (X509_get_extension_flags(cert) & EXFLAG_SI) != 0;
        if (!root && SSL_CTX_add1_chain_cert(ssl, cert) != 1)
            return no_memory(err);
    }
    return 0;
}

static int load_key(SSL_CTX *ssl, const struct blx_tls_files *files, struct blx_error *err)
{
    BLX_CLEANUP_KEY EVP_PKEY *key = NULL;
    int rc = blx_pem_read_key(files->key, &key, err);
    if (rc < 0)
        return rc;
    if (SSL_CTX_use_PrivateKey(ssl, key) == 1 && SSL_CTX_check_private_key(ssl) == 1)
        return 0;
    ERR_clear_error();
    return blx_error_set(err, -EINVAL, "the key in '%s' does not belong to the certificate in '%s'",
                         files->key, files->cert);
}

/* An agent tries: its clock may be set in a minute, and the dispatcher goes by its own. */
static int early(bool server, const struct blx_tls_files *files, struct blx_error *err)
{
    if (!server)
        return 0;
    return blx_error_set(err, -EINVAL,
                         "the certificate in '%s', or that of its authority in '%s', is not valid "
                         "yet: set this machine's clock; if it is right, the clock was ahead when "
                         "the certificate was made, and the authority must sign it again (one in "
                         "DIR/pki is made again by itself as soon as ca.key lies beside it)",
                         files->cert, files->ca);
}

/* The check that the other side will make, made here while a person still watches. */
static int check_own(SSL_CTX *ssl, bool server, const struct blx_tls_files *files,
                     struct blx_error *err)
{
    struct stack_st_X509 *chain = NULL;
    SSL_CTX_get0_chain_certs(ssl, &chain);
    int verdict = verify_in(SSL_CTX_get_cert_store(ssl), SSL_CTX_get0_certificate(ssl), chain,
                            server ? "ssl_server" : "ssl_client");
    switch (verdict) {
    case X509_V_OK:
        return 0;
    case X509_V_ERR_OUT_OF_MEM:
        return no_memory(err);
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return early(server, files, err);
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_INVALID_PURPOSE:
        return blx_error_set(err, -EINVAL, "the certificate in '%s' %s", files->cert,
                             blx_certificate_verdict(verdict));
    default:
        return blx_error_set(
            err, -EINVAL, "the certificate in '%s' cannot be traced to the authority in '%s': %s",
            files->cert, files->ca, X509_verify_cert_error_string(verdict));
    }
}

/* `base` says what the context is for, and owns nothing. */
static int context_begin(const struct blx_tls_context *base, struct blx_tls_context **context,
                         struct blx_error *err)
{
    BLX_CLEANUP_TLS_CONTEXT struct blx_tls_context *made = malloc(sizeof(*made));
    if (made == NULL)
        return no_memory(err);
    *made = *base;
    atomic_init(&made->users, 1);
    made->ssl = SSL_CTX_new(made->server ? TLS_server_method() : TLS_client_method());
    if (made->ssl == NULL || !configure(made->ssl, made))
        return no_memory(err);
    *context = blx_take_ptr(made);
    return 0;
}

/* `base` as above. */
static int context_new(const struct blx_tls_files *files, struct blx_tls_context base,
                       struct blx_tls_context **context, struct blx_error *err)
{
    BLX_CLEANUP_TLS_CONTEXT struct blx_tls_context *made = NULL;
    blx_text_set(base.cert_path, files->cert);
    int rc = context_begin(&base, &made, err);
    if (rc == 0)
        rc = load_ca(made->ssl, files->ca, err);
    if (rc == 0 && files->next_ca != NULL)
        rc = load_ca(made->ssl, files->next_ca, err);
    if (rc == 0)
        rc = load_cert(made->ssl, files->cert, err);
    if (rc == 0)
        rc = load_key(made->ssl, files, err);
    if (rc == 0)
        rc = check_own(made->ssl, base.server, files, err);
    if (rc == 0)
        *context = blx_take_ptr(made);
    return rc;
}

int blx_tls_context_new_server(const struct blx_tls_files *files, struct blx_tls_context **context,
                               struct blx_error *err)
{
    return context_new(files, (struct blx_tls_context){.server = true}, context, err);
}

int blx_tls_context_new_client(const struct blx_tls_files *files, struct blx_tls_context **context,
                               struct blx_error *err)
{
    return context_new(files, (struct blx_tls_context){.server = false}, context, err);
}

int blx_tls_context_new_copier(const struct blx_tls_files *files, struct blx_tls_context **context,
                               struct blx_error *err)
{
    BLX_CLEANUP_TLS_CONTEXT struct blx_tls_context *made = NULL;
    char name[BLX_NAME_BYTES];
    if (access(files->cert, F_OK) != 0)
        return blx_error_errno(err, -errno,
                               "no certificate of a copier at '%s': make it on the dispatcher that "
                               "is copied from with `blxrep dispatcher enroll --copier=NAME`, and "
                               "bring the file here",
                               files->cert);
    int rc = context_new(files, (struct blx_tls_context){.errand = BLX_TLS_COPY}, &made, err);
    if (rc == 0)
        rc = blx_certificate_copier(SSL_CTX_get0_certificate(made->ssl), name, err);
    if (rc < 0)
        return rc;
    if (name[0] == '\0')
        return blx_error_set(err, -EACCES,
                             "the certificate in '%s' is not a copier's: make one with `blxrep "
                             "dispatcher enroll --copier=NAME`",
                             files->cert);
    *context = blx_take_ptr(made);
    return 0;
}

static int no_credentials(const char *path, const char *agent_id, int rc, struct blx_error *err)
{
    return blx_error_errno(err, rc,
                           "no credentials at '%s': run what `blxrep dispatcher enroll --agent=%s "
                           "--token` prints, or make them with `blxrep dispatcher enroll "
                           "--agent=%s` and copy the file here",
                           path, agent_id, agent_id);
}

int blx_tls_context_new_agent(const struct blx_tls_files *files, const char *agent_id,
                              struct blx_tls_context **context, struct blx_error *err)
{
    BLX_CLEANUP_TLS_CONTEXT struct blx_tls_context *made = NULL;
    char name[BLX_NAME_BYTES];
    if (access(files->cert, F_OK) != 0)
        return no_credentials(files->cert, agent_id, -errno, err);
    int rc = blx_tls_context_new_client(files, &made, err);
    if (rc == 0)
        rc = blx_tls_context_name(made, name, err);
    if (rc < 0)
        return rc;
    if (strcmp(name, agent_id) != 0)
        return blx_error_set(err, -EACCES,
                             "the credentials '%s' are for the agent '%s', not for '%s': enroll "
                             "'%s' on the dispatcher",
                             files->cert, name, agent_id, agent_id);
    *context = blx_take_ptr(made);
    return 0;
}

int blx_tls_context_name(const struct blx_tls_context *context, char name[BLX_NAME_BYTES],
                         struct blx_error *err)
{
    int rc = blx_certificate_name(SSL_CTX_get0_certificate(context->ssl), name, err);
    if (rc < 0)
        blx_error_prefix(err, "'%s' does not name an agent", context->cert_path);
    return rc;
}

int64_t blx_tls_context_days_left(const struct blx_tls_context *context)
{
    return blx_certificate_days_left(blx_tls_context_cert(context));
}

uint64_t blx_tls_context_ends_s(const struct blx_tls_context *context)
{
    return blx_certificate_ends_s(blx_tls_context_cert(context));
}

bool blx_tls_context_is_ageing(const struct blx_tls_context *context)
{
    return blx_certificate_is_ageing(SSL_CTX_get0_certificate(context->ssl));
}

int blx_tls_context_admit_tokens(struct blx_tls_context *context, const char *ca_path,
                                 struct blx_error *err)
{
    return blx_pem_read_cert(ca_path, &context->token_ca, err);
}

int blx_tls_context_new_bearer(const uint8_t ca_fingerprint[BLX_FINGERPRINT_BYTES],
                               enum blx_tls_errand errand, struct blx_tls_context **context,
                               struct blx_error *err)
{
    struct blx_tls_context base = {.errand = errand};
    memcpy(base.ca_fingerprint, ca_fingerprint, sizeof(base.ca_fingerprint));
    return context_begin(&base, context, err);
}

int blx_tls_verify_agent(X509 *ca, X509 *cert)
{
    return verify_by(ca, cert, "ssl_client");
}

struct stack_st_X509 *blx_tls_context_list_trusted(const struct blx_tls_context *context)
{
    struct stack_st_X509 *list = X509_STORE_get1_all_certs(SSL_CTX_get_cert_store(context->ssl));
    ERR_clear_error();
    return list;
}

X509 *blx_tls_context_cert(const struct blx_tls_context *context)
{
    return SSL_CTX_get0_certificate(context->ssl);
}
