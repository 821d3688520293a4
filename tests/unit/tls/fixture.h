/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the tests of TLS: a folder with a PKI of its own, contexts made from it, and a pair of
 * connections over loopback. If one of these functions fails the test fails.
 */
#pragma once

#include <openssl/x509.h>

#include "tls/tls.h"

struct fixture {
    char dir[64]; /* the data directory */
    char port[8]; /* of `listener`, a socket on 127.0.0.1 */
    char address[32];
    int listener;
};

/* cmocka's setup and teardown; *state is a struct fixture *. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

/* DIR/name. The text lives until the fourth call after this one. */
const char *fixture_path(const struct fixture *fixture, const char *name);

/* Enrolls `id` and makes its client context; the bundle is DIR/ID.pem. */
struct blx_tls_context *fixture_client(const struct fixture *fixture, const char *id);
struct blx_tls_context *fixture_server(const struct fixture *fixture);

/* Runs blx_tls_accept() in a thread of its own, while the test acts as the client. */
struct acceptor {
    struct blx_tls_context *context;
    int listener;
    uint64_t timeout_ms;
    int rc;
    struct blx_conn *conn;
    struct blx_tls_peer peer;
    struct blx_error err;
    unsigned long thread;
};
void acceptor_start(struct acceptor *acceptor, const struct fixture *fixture,
                    struct blx_tls_context *context);
void acceptor_join(struct acceptor *acceptor);

/* A plain TCP connection to the fixture's listener. */
int fixture_dial(const struct fixture *fixture);

/* An agent "web1" connected to the dispatcher. */
struct pair {
    struct blx_tls_context *server_context, *client_context;
    struct blx_conn *server, *client;
};
void pair_make(struct pair *pair, const struct fixture *fixture);
void pair_free(struct pair *pair);
