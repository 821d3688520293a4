/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/units.h"
#include "fixture.h"
#include "tls/certificate_private.h"
#include "tls/context_private.h"
#include "tls/pem_private.h"
#include "tls/pki.h"

static void tls_connects_an_enrolled_agent(void **state)
{
    struct pair pair;
    pair_make(&pair, *state);
    const struct blx_message ping = {.type = BLX_MESSAGE_PING};
    struct blx_message got;
    assert_int_equal(blx_conn_send(pair.client, &ping, NULL), 0);
    assert_int_equal(blx_conn_recv(pair.server, 10000, &got, NULL), 0);
    assert_int_equal(got.type, BLX_MESSAGE_PING);
    assert_int_equal(blx_conn_send(pair.server, &ping, NULL), 0);
    assert_int_equal(blx_conn_recv(pair.client, 10000, &got, NULL), 0);
    pair_free(&pair);
}

static void tls_context_knows_its_name_and_its_days(void **state)
{
    const struct fixture *fixture = *state;
    BLX_CLEANUP_TLS_CONTEXT struct blx_tls_context *client = fixture_client(fixture, "web10");
    char name[BLX_NAME_BYTES];
    assert_int_equal(blx_tls_context_name(client, name, NULL), 0);
    assert_string_equal(name, "web10");
    assert_in_range(blx_tls_context_days_left(client), 3650, 3652);
}

/* What the two sides say if a context of the other role, or of another CA, is used. */
struct attempt {
    int client_rc;
    int server_rc;
    struct blx_error client_err;
    struct blx_error server_err;
};

static struct attempt attempt(const struct fixture *fixture, struct blx_tls_context *server,
                              struct blx_tls_context *client)
{
    struct attempt result = {0};
    struct acceptor acceptor = {0};
    acceptor_start(&acceptor, fixture, server);
    struct blx_conn *conn = NULL;
    result.client_rc = blx_tls_connect(client, fixture->address, 20000, &conn, &result.client_err);
    /* The server's refusal arrives with the first message that is read; HELLO is on its way by
     * then. */
    if (result.client_rc == 0) {
        const struct blx_message ping = {.type = BLX_MESSAGE_PING};
        struct blx_message got;
        blx_conn_send(conn, &ping, NULL);
        result.client_rc = blx_conn_recv(conn, 10000, &got, &result.client_err);
    }
    blx_conn_free(conn);
    acceptor_join(&acceptor);
    result.server_rc = acceptor.rc;
    result.server_err = acceptor.err;
    blx_conn_free(acceptor.conn);
    assert_int_not_equal(result.client_rc, 0);
    assert_int_not_equal(result.server_rc, 0);
    return result;
}

static void tls_refuses_an_agent_of_another_ca(void **state)
{
    struct fixture *fixture = *state;
    struct fixture *stranger = NULL;
    fixture_setup((void **)&stranger);
    BLX_CLEANUP_TLS_CONTEXT struct blx_tls_context *server = fixture_server(fixture);
    /* Its own certificate is a stranger's, but it trusts this dispatcher's CA. */
    struct blx_tls_context *client = fixture_client(stranger, "web1");
    blx_tls_context_free(client);
    char mixed[256];
    char command[1024];
    snprintf(mixed, sizeof(mixed), "%s", fixture_path(stranger, "mixed.pem"));
    snprintf(command, sizeof(command), "cat '%s/pki/ca.pem' '%s/pki/ca.pem' > '%s'", fixture->dir,
             stranger->dir, mixed);
    assert_int_equal(system(command), 0);
    const char *bundle = fixture_path(stranger, "web1.pem");
    const struct blx_tls_files files = {.ca = mixed, .cert = bundle, .key = bundle};
    struct blx_error err = {0};
    if (blx_tls_context_new_client(&files, &client, &err) < 0)
        fail_msg("%s", err.message);
    struct attempt result = attempt(fixture, server, client);
    assert_int_equal(result.server_rc, -EACCES);
    assert_non_null(strstr(result.server_err.message, "another authority"));
    assert_int_equal(result.client_rc, -EACCES);
    assert_non_null(strstr(result.client_err.message, "refused this side's certificate"));
    blx_tls_context_free(client);
    fixture_teardown((void **)&stranger);
}

static void tls_refuses_a_dispatcher_of_another_ca(void **state)
{
    struct fixture *fixture = *state;
    struct fixture *stranger = NULL;
    fixture_setup((void **)&stranger);
    BLX_CLEANUP_TLS_CONTEXT struct blx_tls_context *server = fixture_server(stranger);
    BLX_CLEANUP_TLS_CONTEXT struct blx_tls_context *client = fixture_client(fixture, "web1");
    struct attempt result = attempt(fixture, server, client);
    assert_int_equal(result.client_rc, -EACCES);
    assert_non_null(strstr(result.client_err.message, "another authority"));
    assert_non_null(strstr(result.client_err.message, fixture->address));
    assert_int_equal(result.server_rc, -EACCES);
    fixture_teardown((void **)&stranger);
}

/* Makes a context out of a certificate that is made to order. */
static struct blx_tls_context *context_to_order(const struct fixture *fixture, const char *name,
                                                enum blx_certificate_kind kind, int days,
                                                bool server, struct blx_error *err)
{
    BLX_CLEANUP_X509 X509 *ca = NULL;
    BLX_CLEANUP_KEY EVP_PKEY *ca_key = NULL;
    BLX_CLEANUP_KEY EVP_PKEY *key = NULL;
    BLX_CLEANUP_X509 X509 *cert = NULL;
    assert_int_equal(blx_pem_read_cert(fixture_path(fixture, "pki/ca.pem"), &ca, NULL), 0);
    assert_int_equal(blx_pem_read_key(fixture_path(fixture, "pki/ca.key"), &ca_key, NULL), 0);
    assert_int_equal(blx_certificate_new_key(&key, NULL), 0);
    assert_int_equal(blx_certificate_make(kind, name, key, ca, ca_key, days, &cert, NULL), 0);
    const char *path = fixture_path(fixture, "order.pem");
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
    PEM_write_X509(file, cert);
    assert_int_equal(fclose(file), 0);
    const struct blx_tls_files files = {
        .ca = fixture_path(fixture, "pki/ca.pem"), .cert = path, .key = path};
    struct blx_tls_context *context = NULL;
    int rc = server ? blx_tls_context_new_server(&files, &context, err)
                    : blx_tls_context_new_client(&files, &context, err);
    assert_true((rc == 0) == (context != NULL));
    return context;
}

/* With an agent's stolen bundle nobody must be able to act as dispatcher. The server here is the
 * openssl tool, because our own context already refuses the bundle. */
static void tls_agent_certificate_cannot_act_as_dispatcher(void **state)
{
    const struct fixture *fixture = *state;
    BLX_CLEANUP_TLS_CONTEXT struct blx_tls_context *client = fixture_client(fixture, "web1");
    struct blx_error err = {0};
    assert_null(context_to_order(fixture, "web2", BLX_CERTIFICATE_AGENT, 10, true, &err));
    assert_non_null(strstr(err.message, "purpose"));
    char command[512];
    snprintf(command, sizeof(command),
             "exec timeout 20 openssl s_server -www -naccept 1 -tls1_3 -alpn blxrep/1 -accept "
             "127.0.0.1:0 "
             "-cert '%s/order.pem' -key '%s/order.pem' 2>&1",
             fixture->dir, fixture->dir);
    /* With port 0 the tool says where it listens. */
    FILE *server = popen(command, "re");
    assert_non_null(server);
    char line[256];
    unsigned port = 0;
    while (port == 0 && fgets(line, sizeof(line), server) != NULL)
        sscanf(line, "ACCEPT 127.0.0.1:%u", &port);
    assert_int_not_equal(port, 0);
    char address[64];
    snprintf(address, sizeof(address), "127.0.0.1:%u", port);
    struct blx_conn *conn = NULL;
    blx_error_clear(&err);
    assert_int_equal(blx_tls_connect(client, address, 10000, &conn, &err), -EACCES);
    assert_non_null(strstr(err.message, "purpose"));
    pclose(server);
}

static void tls_dispatcher_certificate_cannot_act_as_agent(void **state)
{
    const struct fixture *fixture = *state;
    BLX_CLEANUP_TLS_CONTEXT struct blx_tls_context *server = fixture_server(fixture);
    struct blx_error err = {0};
    assert_non_null(server); /* its CA exists now */
    assert_null(context_to_order(fixture, "web2", BLX_CERTIFICATE_DISPATCHER, 10, false, &err));
    assert_non_null(strstr(err.message, "purpose"));
}

/* Makes the copier "second", whose credentials are DIR/second.pem. */
static struct blx_tls_files enroll_copier(const struct fixture *fixture)
{
    static struct blx_pki_bundle bundle;
    const char *path = fixture_path(fixture, "second.pem");
    struct blx_error err = {0};
    if (blx_pki_make_copier(fixture->dir, "second", &bundle, &err) < 0)
        fail_msg("%s", err.message);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(bundle.pem, 1, bundle.bytes, file), bundle.bytes);
    assert_int_equal(fclose(file), 0);
    return (struct blx_tls_files){.ca = path, .cert = path, .key = path};
}

static struct blx_tls_context *copier_client(const struct blx_tls_files *files)
{
    struct blx_tls_context *client = NULL;
    struct blx_error err = {0};
    if (blx_tls_context_new_copier(files, &client, &err) < 0)
        fail_msg("%s", err.message);
    return client;
}

static void tls_knows_a_copier_by_its_certificate(void **state)
{
    const struct fixture *fixture = *state;
    BLX_CLEANUP_TLS_CONTEXT struct blx_tls_context *server = fixture_server(fixture);
    const struct blx_tls_files files = enroll_copier(fixture);
    BLX_CLEANUP_TLS_CONTEXT struct blx_tls_context *client = copier_client(&files);
    struct acceptor acceptor = {0};
    struct blx_conn *conn = NULL;
    struct blx_error err[2] = {{0}};
    acceptor_start(&acceptor, fixture, server);
    assert_int_equal(blx_tls_connect(client, fixture->address, 20000, &conn, NULL), 0);
    acceptor_join(&acceptor);
    assert_int_equal(acceptor.rc, 0);
    assert_int_equal(acceptor.peer.errand, BLX_TLS_COPY);
    assert_string_equal(acceptor.peer.name, "second");
    blx_conn_free(conn);
    blx_conn_free(acceptor.conn);
    const char *serial = acceptor.peer.serial;
    assert_int_equal(blx_pki_check_copier(fixture->dir, "second", serial, NULL), 0);
    /* It has nothing in common with an agent of that name. */
    assert_int_equal(blx_pki_revoke(fixture->dir, "second", NULL), 0);
    assert_int_equal(blx_pki_check_copier(fixture->dir, "second", serial, NULL), 0);
    assert_int_equal(blx_pki_revoke_copier(fixture->dir, "second", NULL), 0);
    assert_int_equal(blx_pki_check_copier(fixture->dir, "second", serial, &err[0]), -EACCES);
    assert_non_null(strstr(err[0].message, "enroll --copier=second"));
    char long_name[BLX_NAME_BYTES];
    memset(long_name, 'x', sizeof(long_name));
    long_name[BLX_COPIER_NAME_BYTES] = '\0';
    assert_int_equal(blx_pki_revoke_copier(fixture->dir, long_name, &err[1]), -EINVAL);
}

/* Neither passes for the other, whatever it says that it is. */
static void tls_takes_no_copier_for_an_agent_and_no_agent_for_a_copier(void **state)
{
    const struct fixture *fixture = *state;
    BLX_CLEANUP_TLS_CONTEXT struct blx_tls_context *server = fixture_server(fixture);
    const struct blx_tls_files files = enroll_copier(fixture);
    struct blx_tls_context *client = NULL;
    struct blx_error err[2] = {{0}};
    assert_int_equal(blx_tls_context_new_client(&files, &client, NULL), 0);
    struct attempt result = attempt(fixture, server, client);
    assert_int_equal(result.server_rc, -EACCES);
    assert_non_null(strstr(result.server_err.message, "a copier's"));
    blx_tls_context_free(client);
    assert_int_equal(blx_tls_context_new_agent(&files, "second", &client, &err[0]), -EACCES);
    blx_tls_context_free(fixture_client(fixture, "web1"));
    const char *bundle = fixture_path(fixture, "web1.pem");
    const struct blx_tls_files agents = {.ca = bundle, .cert = bundle, .key = bundle};
    assert_int_equal(blx_tls_context_new_copier(&agents, &client, &err[1]), -EACCES);
    assert_non_null(strstr(err[1].message, "not a copier's"));
    /* One that does not check itself. */
    client = copier_client(&files);
    BLX_CLEANUP_X509 X509 *cert = NULL;
    BLX_CLEANUP_KEY EVP_PKEY *key = NULL;
    assert_int_equal(blx_pem_read_cert(bundle, &cert, NULL), 0);
    assert_int_equal(blx_pem_read_key(bundle, &key, NULL), 0);
    assert_int_equal(SSL_CTX_use_certificate(client->ssl, cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(client->ssl, key), 1);
    result = attempt(fixture, server, client);
    assert_int_equal(result.server_rc, -EACCES);
    assert_non_null(strstr(result.server_err.message, "not a copier's"));
    blx_tls_context_free(client);
}

static void tls_refuses_an_expired_certificate(void **state)
{
    const struct fixture *fixture = *state;
    BLX_CLEANUP_TLS_CONTEXT struct blx_tls_context *server = fixture_server(fixture);
    struct blx_error err = {0};
    assert_null(context_to_order(fixture, "web1", BLX_CERTIFICATE_AGENT, -1, false, &err));
    assert_non_null(strstr(err.message, "expired"));
    assert_non_null(strstr(err.message, "order.pem"));
    /* A certificate that expires after it was loaded is refused by the other side; the openssl tool
     * sends it. */
    struct acceptor acceptor = {0};
    acceptor_start(&acceptor, fixture, server);
    char command[512];
    snprintf(
        command, sizeof(command),
        "timeout 20 openssl s_client -connect %s -tls1_3 -alpn blxrep/1 -cert '%s/order.pem' -key "
        "'%s/order.pem' </dev/null >/dev/null 2>&1",
        fixture->address, fixture->dir, fixture->dir);
    (void)!system(command);
    acceptor_join(&acceptor);
    assert_int_equal(acceptor.rc, -EACCES);
    assert_non_null(strstr(acceptor.err.message, "expired"));
}

/* What the openssl tool, as a client with a valid certificate, gets with these `options`. */
static void refuse_tool(const struct fixture *fixture, const char *options, int rc, const char *why)
{
    BLX_CLEANUP_TLS_CONTEXT struct blx_tls_context *server = fixture_server(fixture);
    if (access(fixture_path(fixture, "tool.pem"), F_OK) != 0)
        assert_int_equal(
            blx_pki_enroll(fixture->dir, "tool", fixture_path(fixture, "tool.pem"), NULL), 0);
    struct acceptor acceptor = {0};
    acceptor_start(&acceptor, fixture, server);
    char command[512];
    snprintf(command, sizeof(command),
             "cd '%s' && timeout 20 openssl s_client -connect %s %s </dev/null >out 2>&1",
             fixture->dir, fixture->address, options);
    (void)!system(command);
    acceptor_join(&acceptor);
    blx_conn_free(acceptor.conn);
    if (acceptor.rc != rc || (rc != 0 && strstr(acceptor.err.message, why) == NULL))
        fail_msg("%s: %d '%s'", options, acceptor.rc, acceptor.err.message);
}

static void tls_refuses_what_is_not_blxrep_over_tls_1_3(void **state)
{
    const struct fixture *fixture = *state;
#define CERT "-cert tool.pem -key tool.pem"
    refuse_tool(fixture, "-tls1_3 -alpn blxrep/1 " CERT, 0, NULL);
    refuse_tool(fixture, "-tls1_2 -alpn blxrep/1 " CERT, -EPROTO, "TLS 1.3");
    refuse_tool(fixture, "-tls1_3 " CERT, -EPROTO, "not blxrep/1");
    refuse_tool(fixture, "-tls1_3 -alpn h2 " CERT, -EPROTO, "not blxrep/1");
    refuse_tool(fixture, "-tls1_3 -alpn blxrep/1", -EACCES, "no certificate");
}

static void tls_tells_the_refused_why(void **state)
{
    const struct fixture *fixture = *state;
    refuse_tool(fixture, "-tls1_3 -alpn h2 " CERT, -EPROTO, "not blxrep/1");
    char command[256];
    snprintf(command, sizeof(command), "grep -q 'alert no application protocol' '%s'",
             fixture_path(fixture, "out"));
    assert_int_equal(system(command), 0);
}

static void refuse_bytes(const struct fixture *fixture, const void *bytes, size_t length, int rc,
                         const char *why)
{
    BLX_CLEANUP_TLS_CONTEXT struct blx_tls_context *server = fixture_server(fixture);
    struct acceptor acceptor = {0};
    acceptor_start(&acceptor, fixture, server);
    int fd = fixture_dial(fixture);
    if (length > 0)
        assert_int_equal(send(fd, bytes, length, MSG_NOSIGNAL), (ssize_t)length);
    shutdown(fd, SHUT_WR);
    acceptor_join(&acceptor);
    close(fd);
    if (acceptor.rc != rc || strstr(acceptor.err.message, why) == NULL)
        fail_msg("%d '%s'", acceptor.rc, acceptor.err.message);
}

static void tls_refuses_plaintext_and_garbage(void **state)
{
    const struct fixture *fixture = *state;
    const char http[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    const uint8_t hello[] = {0x60, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0};
    uint8_t garbage[512];
    for (size_t i = 0; i < sizeof(garbage); i++)
        garbage[i] = (uint8_t)(i * 37 + 11);
    refuse_bytes(fixture, http, sizeof(http) - 1, -EPROTO, "HTTP");
    refuse_bytes(fixture, hello, sizeof(hello), -EPROTO, "does not speak TLS");
    refuse_bytes(fixture, garbage, sizeof(garbage), -EPROTO, "TLS");
    refuse_bytes(fixture, NULL, 0, -EPIPE, "closed");
}

static void tls_accept_gives_up_at_its_deadline(void **state)
{
    const struct fixture *fixture = *state;
    BLX_CLEANUP_TLS_CONTEXT struct blx_tls_context *server = fixture_server(fixture);
    struct acceptor acceptor = {.timeout_ms = 200};
    uint64_t start = blx_clock_ns();
    acceptor_start(&acceptor, fixture, server);
    BLX_CLEANUP_FD int fd = fixture_dial(fixture);
    assert_true(fd >= 0); /* it stays open, and says nothing */
    acceptor_join(&acceptor);
    assert_int_equal(acceptor.rc, -ETIMEDOUT);
    assert_true(blx_clock_ns() - start >= 200000000);
}

static void tls_connect_gives_up_at_its_deadline(void **state)
{
    const struct fixture *fixture = *state;
    BLX_CLEANUP_TLS_CONTEXT struct blx_tls_context *client = fixture_client(fixture, "web1");
    struct blx_conn *conn = NULL;
    struct blx_error err = {0};
    /* The listener's backlog takes the connection, and nobody answers. */
    assert_int_equal(blx_tls_connect(client, fixture->address, 200, &conn, &err), -ETIMEDOUT);
    assert_non_null(strstr(err.message, fixture->address));
    assert_null(conn);
}

static void tls_connect_says_that_nothing_listens(void **state)
{
    const struct fixture *fixture = *state;
    BLX_CLEANUP_TLS_CONTEXT struct blx_tls_context *client = fixture_client(fixture, "web1");
    int listener = blx_address_listen("127.0.0.1:0", NULL);
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    uint16_t port;
    memcpy(&port, (const char *)&address + 2, sizeof(port));
    close(listener);
    char text[32];
    snprintf(text, sizeof(text), "127.0.0.1:%u", ntohs(port));
    struct blx_conn *conn = NULL;
    struct blx_error err = {0};
    assert_int_equal(blx_tls_connect(client, text, 5000, &conn, &err), -ECONNREFUSED);
    assert_non_null(strstr(err.message, "is the dispatcher running"));
    assert_int_equal(blx_tls_connect(client, "127.0.0.1:0", 5000, &conn, NULL), -EINVAL);
    assert_int_equal(blx_tls_connect(client, ":8080", 5000, &conn, NULL), -EINVAL);
}

static void site_certificate(const struct fixture *fixture, const char *san)
{
    char command[2048];
    snprintf(
        command, sizeof(command),
        "cd '%s' && rm -f site.* && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 "
        "-nodes "
        "-keyout siteca.key -out siteca.pem -subj '/CN=Site CA' -days 5 -addext "
        "basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign 2>/dev/null && "
        "printf 'subjectAltName=%s\\nextendedKeyUsage=serverAuth,clientAuth\\n' >ext && "
        "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout site.key -out "
        "site.csr "
        "-subj /CN=site1 2>/dev/null && openssl x509 -req -in site.csr -CA siteca.pem -CAkey "
        "siteca.key "
        "-CAcreateserial -days 5 -extfile ext -out site.pem 2>/dev/null",
        fixture->dir, san);
    assert_int_equal(system(command), 0);
}

static int connect_with_site(const struct fixture *fixture, const char *san, struct blx_error *err)
{
    site_certificate(fixture, san);
    const struct blx_tls_files files = {.ca = fixture_path(fixture, "siteca.pem"),
                                        .cert = fixture_path(fixture, "site.pem"),
                                        .key = fixture_path(fixture, "site.key")};
    BLX_CLEANUP_TLS_CONTEXT struct blx_tls_context *server = NULL;
    BLX_CLEANUP_TLS_CONTEXT struct blx_tls_context *client = NULL;
    assert_int_equal(blx_tls_context_new_server(&files, &server, NULL), 0);
    assert_int_equal(blx_tls_context_new_client(&files, &client, NULL), 0);
    struct acceptor acceptor = {0};
    struct blx_conn *conn = NULL;
    acceptor_start(&acceptor, fixture, server);
    int rc = blx_tls_connect(client, fixture->address, 10000, &conn, err);
    acceptor_join(&acceptor);
    assert_true((rc == 0) == (acceptor.rc == 0));
    blx_conn_free(conn);
    blx_conn_free(acceptor.conn);
    return rc;
}

static void tls_takes_a_site_certificate_by_its_host(void **state)
{
    const struct fixture *fixture = *state;
    struct blx_error err = {0};
    assert_int_equal(connect_with_site(fixture, "IP:127.0.0.1", NULL), 0);
    assert_int_equal(connect_with_site(fixture, "DNS:" BLX_TLS_DISPATCHER_NAME, NULL), 0);
    assert_int_equal(connect_with_site(fixture, "DNS:other.example.org", &err), -EACCES);
    assert_non_null(strstr(err.message, "another host"));
}

static void context_error(const struct fixture *fixture, const char *ca, const char *cert,
                          const char *key, const char *why)
{
    const struct blx_tls_files files = {.ca = fixture_path(fixture, ca),
                                        .cert = fixture_path(fixture, cert),
                                        .key = fixture_path(fixture, key)};
    struct blx_tls_context *context = NULL;
    struct blx_error err = {0};
    assert_true(blx_tls_context_new_server(&files, &context, &err) < 0);
    assert_null(context);
    if (strstr(err.message, why) == NULL)
        fail_msg("'%s' is not in '%s'", why, err.message);
}

static void tls_context_names_the_file_that_is_wrong(void **state)
{
    const struct fixture *fixture = *state;
    blx_tls_context_free(fixture_server(fixture));
    site_certificate(fixture, "DNS:x.example.org");
    char command[512];
    snprintf(command, sizeof(command),
             "cd '%s' && : >empty && openssl ec -aes128 -passout pass:secret -in site.key -out "
             "locked.key "
             "2>/dev/null && sed 's/[A-Z]/a/10' site.pem >damaged.pem",
             fixture->dir);
    assert_int_equal(system(command), 0);
    context_error(fixture, "missing", "site.pem", "site.key", "missing'");
    context_error(fixture, "empty", "site.pem", "site.key", "empty'");
    context_error(fixture, "site.pem", "site.pem", "site.key", "authority");
    context_error(fixture, "siteca.pem", "empty", "site.key", "empty'");
    context_error(fixture, "siteca.pem", "damaged.pem", "site.key", "damaged.pem'");
    context_error(fixture, "siteca.pem", "site.pem", "empty", "no private key");
    context_error(fixture, "siteca.pem", "site.pem", "locked.key", "encrypted");
    context_error(fixture, "siteca.pem", "site.pem", "siteca.key", "does not belong");
    context_error(fixture, "pki/ca.pem", "site.pem", "site.key", "cannot be traced");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(tls_connects_an_enrolled_agent),
        TEST(tls_context_knows_its_name_and_its_days),
        TEST(tls_refuses_an_agent_of_another_ca),
        TEST(tls_refuses_a_dispatcher_of_another_ca),
        TEST(tls_agent_certificate_cannot_act_as_dispatcher),
        TEST(tls_dispatcher_certificate_cannot_act_as_agent),
        TEST(tls_knows_a_copier_by_its_certificate),
        TEST(tls_takes_no_copier_for_an_agent_and_no_agent_for_a_copier),
        TEST(tls_refuses_an_expired_certificate),
        TEST(tls_refuses_what_is_not_blxrep_over_tls_1_3),
        TEST(tls_tells_the_refused_why),
        TEST(tls_refuses_plaintext_and_garbage),
        TEST(tls_accept_gives_up_at_its_deadline),
        TEST(tls_connect_gives_up_at_its_deadline),
        TEST(tls_connect_says_that_nothing_listens),
        TEST(tls_takes_a_site_certificate_by_its_host),
        TEST(tls_context_names_the_file_that_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
