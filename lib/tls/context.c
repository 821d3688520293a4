#include "tls/context.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tls/certificate.h"
#include "tls/pem.h"
#include "tls/tls.h"
#include "wire/ssl_error.h"

/* ALPN's form: the length before the name. */
static const unsigned char alpn[] = "\x08" BLX_TLS_ALPN;
enum { ALPN_BYTES = sizeof(alpn) - 1 };
_Static_assert(sizeof(BLX_TLS_ALPN) - 1 == 8, "the length in alpn[]");

void blx_tls_context_free(struct blx_tls_context *context)
{
    if (context == NULL)
        return;
    SSL_CTX_free(context->ssl);
    free(context);
}

/* Without this a client that offers no ALPN at all would get through: OpenSSL asks alpn_select()
 * only about an offer. */
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
    (void)ssl;
    (void)arg;
    unsigned char *found = NULL;
    if (SSL_select_next_proto(&found, chosen_bytes, alpn, ALPN_BYTES, offer, offer_bytes) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *chosen = found;
    return SSL_TLSEXT_ERR_OK;
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
     * The fixed name is accepted next to the dialled one, for dispatchers whose address changes.
     * Only a CA that somebody chose to trust can have signed it, and a public one never signs a
     * name under .internal.
     */
    if (host != NULL && (names(cert, host) || names(cert, BLX_TLS_DISPATCHER_NAME)))
        return 1;
    X509_STORE_CTX_set_error(store, X509_V_ERR_HOSTNAME_MISMATCH);
    return 0;
}

static bool configure(SSL_CTX *ssl, bool server)
{
    SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                       server ? NULL : blx_tls_verify_dispatcher);
    if (SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION) != 1)
        return false;
    if (!server)
        return SSL_CTX_set_alpn_protos(ssl, alpn, ALPN_BYTES) == 0;
    SSL_CTX_set_client_hello_cb(ssl, hello_needs_alpn, NULL);
    SSL_CTX_set_alpn_select_cb(ssl, alpn_select, NULL);
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
    /* A certificate whose extensions make no sense is no CA; OpenSSL notes why, and a later failure
     * would be told with that reason. */
    ERR_clear_error();
    if (trusted == 0)
        return blx_error_set(err, -EINVAL, "'%s' has no certificate of an authority (CA)", path);
    return 0;
}

/* The first certificate is our own; the others that are no roots help the other side to find its
 * root. */
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

/* The same check that the other side will make, while a person still looks. */
static int check_own(SSL_CTX *ssl, bool server, const struct blx_tls_files *files,
                     struct blx_error *err)
{
    struct stack_st_X509 *chain = NULL;
    SSL_CTX_get0_chain_certs(ssl, &chain);
    X509_STORE_CTX *store = X509_STORE_CTX_new();
    if (store == NULL ||
        X509_STORE_CTX_init(store, SSL_CTX_get_cert_store(ssl), SSL_CTX_get0_certificate(ssl),
                            chain) != 1 ||
        X509_STORE_CTX_set_default(store, server ? "ssl_server" : "ssl_client") != 1) {
        X509_STORE_CTX_free(store);
        return no_memory(err);
    }
    int verdict = X509_verify_cert(store) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(store);
    X509_STORE_CTX_free(store);
    ERR_clear_error();
    switch (verdict) {
    case X509_V_OK:
        return 0;
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
    case X509_V_ERR_INVALID_PURPOSE:
        return blx_error_set(err, -EINVAL, "the certificate in '%s' %s", files->cert,
                             blx_certificate_verdict(verdict));
    default:
        return blx_error_set(
            err, -EINVAL, "the certificate in '%s' cannot be traced to the authority in '%s': %s",
            files->cert, files->ca, X509_verify_cert_error_string(verdict));
    }
}

static int context_new(const struct blx_tls_files *files, bool server,
                       struct blx_tls_context **context, struct blx_error *err)
{
    BLX_CLEANUP_TLS_CONTEXT struct blx_tls_context *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return no_memory(err);
    made->server = server;
    snprintf(made->cert_path, sizeof(made->cert_path), "%s", files->cert);
    made->ssl = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    if (made->ssl == NULL || !configure(made->ssl, server))
        return no_memory(err);
    int rc = load_ca(made->ssl, files->ca, err);
    if (rc == 0)
        rc = load_cert(made->ssl, files->cert, err);
    if (rc == 0)
        rc = load_key(made->ssl, files, err);
    if (rc == 0)
        rc = check_own(made->ssl, server, files, err);
    if (rc == 0)
        *context = blx_take_ptr(made);
    return rc;
}

int blx_tls_context_new_server(const struct blx_tls_files *files, struct blx_tls_context **context,
                               struct blx_error *err)
{
    return context_new(files, true, context, err);
}

int blx_tls_context_new_client(const struct blx_tls_files *files, struct blx_tls_context **context,
                               struct blx_error *err)
{
    return context_new(files, false, context, err);
}

int blx_tls_context_name(const struct blx_tls_context *context, char name[BLX_NAME_BYTES],
                         struct blx_error *err)
{
    int rc = blx_certificate_name(SSL_CTX_get0_certificate(context->ssl), name, err);
    if (rc < 0)
        blx_error_prefix(err, "'%s' names no agent", context->cert_path);
    return rc;
}

int64_t blx_tls_context_days_left(const struct blx_tls_context *context)
{
    int days = 0;
    int seconds = 0;
    const ASN1_TIME *end = X509_get0_notAfter(SSL_CTX_get0_certificate(context->ssl));
    ASN1_TIME_diff(&days, &seconds, NULL, end);
    return days;
}
