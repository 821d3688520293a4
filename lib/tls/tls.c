/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "tls/address_private.h"
#include "tls/certificate_private.h"
#include "tls/context_private.h"
#include "tls/pem_private.h"
#include "wire/socket_bio.h"
#include "wire/ssl_error.h"
#include "wire/wait.h"

enum {
    SEND_TIMEOUT_MS =
        60000,        /* without progress: longer than the heartbeats need to find a dead peer */
    LINGER_MS = 1000, /* for a refused peer to read why */
    LINGER_BYTES = 256 * 1024,
    KEEPALIVE_IDLE_SECONDS = 30,
    KEEPALIVE_INTERVAL_SECONDS = 10,
    KEEPALIVE_PROBES = 3,
};

static void cleanup_ssl(SSL **ssl)
{
    SSL_free(*ssl);
}
#define CLEANUP_SSL BLX_CLEANUP(cleanup_ssl)

static int set_option(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof(value));
}

static int prepare_socket(int fd, struct blx_error *err)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return blx_error_errno(err, -errno, "cannot use a connection's socket");
    /* An acknowledgement must not wait for a second packet. If this fails (a test's socket is not
     * TCP) it only costs speed. */
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_SECONDS);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_SECONDS);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
    return 0;
}

static SSL *ssl_new(const struct blx_tls_context *context, int fd)
{
    CLEANUP_SSL SSL *ssl = SSL_new(context->ssl);
    BIO *bio = blx_socket_bio_new(fd);
    if (ssl == NULL || bio == NULL) {
        BIO_free(bio);
        ERR_clear_error();
        return NULL;
    }
    SSL_set_bio(ssl, bio, bio);
    return blx_take_ptr(ssl);
}

static int handshake_error(const SSL *ssl, int ssl_error, int saved_errno, struct blx_error *err)
{
    long verdict = SSL_get_verify_result(ssl);
    if (ssl_error == SSL_ERROR_SSL && verdict != X509_V_OK) {
        ERR_clear_error();
        return blx_error_set(err, -EACCES, "the other side's certificate %s",
                             blx_certificate_verdict((int)verdict));
    }
    return blx_ssl_error(ssl_error, saved_errno, err);
}

static int handshake(SSL *ssl, int fd, uint64_t deadline_ns, struct blx_error *err)
{
    for (;;) {
        ERR_clear_error();
        errno = 0;
        int rc = SSL_do_handshake(ssl);
        int saved_errno = errno;
        if (rc == 1)
            return 0;
        int ssl_error = SSL_get_error(ssl, rc);
        if (ssl_error != SSL_ERROR_WANT_READ && ssl_error != SSL_ERROR_WANT_WRITE)
            return handshake_error(ssl, ssl_error, saved_errno, err);
        /* A peer that sends byte by byte must not outlive the deadline either. */
        rc = blx_clock_ns() >= deadline_ns ? -ETIMEDOUT : 0;
        if (rc == 0)
            rc = blx_wait_fd(fd, ssl_error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, deadline_ns);
        if (rc == -ETIMEDOUT)
            return blx_error_set(err, rc,
                                 "the other side did not finish the TLS handshake in time");
        if (rc < 0)
            return blx_error_errno(err, rc, "cannot wait for the other side");
    }
}

/* A close with unread bytes in the socket would reset the connection, and the peer would lose the
 * alert that says why. */
static void linger(int fd, uint64_t deadline_ns)
{
    char thrown_away[4096];
    size_t total = 0;
    uint64_t until_ns = blx_deadline_in_ms(LINGER_MS);
    if (deadline_ns < until_ns)
        until_ns = deadline_ns;
    if (shutdown(fd, SHUT_WR) < 0)
        return;
    while (total < LINGER_BYTES) {
        ssize_t got = recv(fd, thrown_away, sizeof(thrown_away), 0);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
            return;
        if (got > 0)
            total += (size_t)got;
        else if (blx_wait_fd(fd, POLLIN, until_ns) < 0)
            return;
    }
}

static bool speaks(const SSL *ssl, const char *alpn)
{
    const unsigned char *chosen = NULL;
    unsigned bytes = 0;
    SSL_get0_alpn_selected(ssl, &chosen, &bytes);
    return bytes == strlen(alpn) && memcmp(chosen, alpn, bytes) == 0;
}

static int name_copier(const X509 *cert, char name[BLX_NAME_BYTES], struct blx_error *err)
{
    int rc = blx_certificate_copier(cert, name, err);
    if (rc == 0 && name[0] == '\0')
        rc =
            blx_error_set(err, -EACCES,
                          "the certificate is not a copier's, so it reads no copies: make one with "
                          "`blxrep dispatcher enroll --copier=NAME`");
    return rc;
}

static int peer_of(const SSL *ssl, struct blx_tls_peer *peer, struct blx_error *err)
{
    if (speaks(ssl, BLX_TLS_JOIN_ALPN))
        peer->errand = BLX_TLS_JOIN;
    if (speaks(ssl, BLX_TLS_RESTORE_ALPN))
        peer->errand = BLX_TLS_RESTORE;
    if (speaks(ssl, BLX_TLS_COPY_ALPN))
        peer->errand = BLX_TLS_COPY;
    if (blx_tls_errand_has_token(peer->errand))
        return 0;
    const X509 *cert = SSL_get0_peer_certificate(ssl);
    if (cert == NULL)
        return blx_error_set(err, -EACCES, "the other side has sent no certificate");
    const struct stack_st_X509 *chain = SSL_get0_verified_chain(ssl);
    peer->ends_s = blx_certificate_ends_s(cert);
    int rc = peer->errand == BLX_TLS_COPY ? name_copier(cert, peer->name, err)
                                          : blx_certificate_name(cert, peer->name, err);
    if (rc == 0)
        rc = blx_certificate_serial(cert, peer->serial, err);
    if (rc == 0 && sk_X509_num(chain) > 0)
        rc = blx_certificate_fingerprint(sk_X509_value(chain, sk_X509_num(chain) - 1),
                                         peer->ca_fingerprint, err);
    return rc;
}

/* Gives the descriptor and the SSL object to a new connection. */
static int conn_of(int *fd, SSL **ssl, struct blx_conn **conn, struct blx_error *err)
{
    int rc = blx_conn_new(*fd, *ssl, SEND_TIMEOUT_MS, conn, err);
    if (rc < 0)
        return rc;
    blx_take_fd(fd);
    blx_take_ptr(*ssl);
    return 0;
}

int blx_tls_accept(struct blx_tls_context *context, int fd, uint64_t timeout_ms,
                   struct blx_conn **conn, struct blx_tls_peer *peer, struct blx_error *err)
{
    BLX_CLEANUP_FD int owned = fd;
    uint64_t deadline_ns = blx_deadline_in_ms(timeout_ms);
    int rc = prepare_socket(owned, err);
    if (rc < 0)
        return rc;
    CLEANUP_SSL SSL *ssl = ssl_new(context, owned);
    if (ssl == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot accept a connection");
    SSL_set_accept_state(ssl);
    struct blx_tls_peer found = {.errand = BLX_TLS_SESSION};
    rc = handshake(ssl, owned, deadline_ns, err);
    if (rc == 0)
        rc = peer_of(ssl, &found, err);
    if (rc < 0) {
        linger(owned, deadline_ns);
        return rc;
    }
    rc = conn_of(&owned, &ssl, conn, err);
    if (rc == 0)
        *peer = found;
    return rc;
}

static int client_handshake(const struct blx_tls_context *context, SSL *ssl, int fd,
                            const char *host, uint64_t deadline_ns, struct blx_error *err)
{
    SSL_set_connect_state(ssl);
    unsigned char address[sizeof(struct in6_addr)];
    bool is_ip = inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
    if (!is_ip && SSL_set_tlsext_host_name(ssl, host) != 1)
        return blx_error_errno(err, -ENOMEM, "cannot connect");
    SSL_set_app_data(ssl, (char *)(uintptr_t)host);
    int rc = handshake(ssl, fd, deadline_ns, err);
    SSL_set_app_data(ssl, NULL);
    const char *alpn = blx_tls_errand_alpn(context->errand);
    if (rc == 0 && !speaks(ssl, alpn))
        rc = blx_error_set(err, -EPROTO, "the other side speaks TLS, but not %s", alpn);
    return rc;
}

int blx_tls_connect(struct blx_tls_context *context, const char *address, uint64_t timeout_ms,
                    struct blx_conn **conn, struct blx_error *err)
{
    uint64_t deadline_ns = blx_deadline_in_ms(timeout_ms);
    char host[BLX_HOST_BYTES];
    BLX_CLEANUP_FD int fd = blx_address_dial(address, deadline_ns, host, err);
    if (fd < 0)
        return fd;
    int rc = prepare_socket(fd, err);
    if (rc < 0)
        return rc;
    CLEANUP_SSL SSL *ssl = ssl_new(context, fd);
    if (ssl == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot connect to '%s'", address);
    rc = client_handshake(context, ssl, fd, host, deadline_ns, err);
    if (rc == 0)
        rc = conn_of(&fd, &ssl, conn, err);
    if (rc < 0)
        blx_error_prefix(err, "cannot connect to '%s'", address);
    return rc;
}
