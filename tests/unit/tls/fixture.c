/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "tls/pki.h"

int fixture_setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    strcpy(fixture->dir, "/tmp/blxrep-tls-XXXXXX");
    assert_non_null(mkdtemp(fixture->dir));
    struct blx_error err = {0};
    fixture->listener = blx_address_listen("127.0.0.1:0", &err);
    assert_true(fixture->listener >= 0);
    struct sockaddr_in address;
    socklen_t length = sizeof(address);
    assert_int_equal(getsockname(fixture->listener, (struct sockaddr *)&address, &length), 0);
    snprintf(fixture->port, sizeof(fixture->port), "%u", ntohs(address.sin_port));
    snprintf(fixture->address, sizeof(fixture->address), "127.0.0.1:%s", fixture->port);
    *state = fixture;
    return 0;
}

int fixture_teardown(void **state)
{
    struct fixture *fixture = *state;
    char command[128];
    close(fixture->listener);
    snprintf(command, sizeof(command), "rm -rf '%s'", fixture->dir);
    int rc = system(command);
    free(fixture);
    return rc;
}

const char *fixture_path(const struct fixture *fixture, const char *name)
{
    static char paths[4][256];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", fixture->dir, name);
    return path;
}

struct blx_tls_context *fixture_client(const struct fixture *fixture, const char *id)
{
    char name[BLX_NAME_BYTES + 4];
    snprintf(name, sizeof(name), "%s.pem", id);
    const char *bundle = fixture_path(fixture, name);
    struct blx_error err = {0};
    struct blx_tls_context *context = NULL;
    if (blx_pki_enroll(fixture->dir, id, bundle, &err) < 0)
        fail_msg("%s", err.message);
    const struct blx_tls_files files = {.ca = bundle, .cert = bundle, .key = bundle};
    if (blx_tls_context_new_client(&files, &context, &err) < 0)
        fail_msg("%s", err.message);
    return context;
}

struct blx_tls_context *fixture_server(const struct fixture *fixture)
{
    struct blx_error err = {0};
    struct blx_tls_context *context = NULL;
    if (blx_pki_ensure(fixture->dir, &err) < 0)
        fail_msg("%s", err.message);
    const struct blx_tls_files files = {.ca = fixture_path(fixture, "pki/ca.pem"),
                                        .cert = fixture_path(fixture, "pki/dispatcher.pem"),
                                        .key = fixture_path(fixture, "pki/dispatcher.key")};
    if (blx_tls_context_new_server(&files, &context, &err) < 0)
        fail_msg("%s", err.message);
    return context;
}

static void *accept_one(void *arg)
{
    struct acceptor *acceptor = arg;
    int fd = accept4(acceptor->listener, NULL, NULL, SOCK_CLOEXEC);
    acceptor->rc = blx_tls_accept(acceptor->context, fd, acceptor->timeout_ms, &acceptor->conn,
                                  &acceptor->peer, &acceptor->err);
    return NULL;
}

void acceptor_start(struct acceptor *acceptor, const struct fixture *fixture,
                    struct blx_tls_context *context)
{
    acceptor->context = context;
    acceptor->listener = fixture->listener;
    if (acceptor->timeout_ms == 0)
        acceptor->timeout_ms = 20000;
    assert_int_equal(pthread_create(&acceptor->thread, NULL, accept_one, acceptor), 0);
}

void acceptor_join(struct acceptor *acceptor)
{
    assert_int_equal(pthread_join(acceptor->thread, NULL), 0);
}

int fixture_dial(const struct fixture *fixture)
{
    BLX_CLEANUP_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)atoi(fixture->port)),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
    return blx_take_fd(&fd);
}

void pair_make(struct pair *pair, const struct fixture *fixture)
{
    struct blx_error err = {0};
    pair->server_context = fixture_server(fixture);
    pair->client_context = fixture_client(fixture, "web1");
    struct acceptor acceptor = {0};
    acceptor_start(&acceptor, fixture, pair->server_context);
    int rc = blx_tls_connect(pair->client_context, fixture->address, 20000, &pair->client, &err);
    acceptor_join(&acceptor);
    if (rc < 0 || acceptor.rc < 0)
        fail_msg("%s / %s", err.message, acceptor.err.message);
    assert_string_equal(acceptor.peer.name, "web1");
    pair->server = acceptor.conn;
}

void pair_free(struct pair *pair)
{
    blx_conn_free(pair->server);
    blx_conn_free(pair->client);
    blx_tls_context_free(pair->server_context);
    blx_tls_context_free(pair->client_context);
}
