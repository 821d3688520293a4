/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lib/wire/conn, and lib/tls from the address to the end of a conversation, on both sides. The
 * other side is a process of its own, which nothing fails in.
 */
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "folder.h"
#include "loop.h"
#include "tls/address_private.h"
#include "tls/pki.h"
#include "tls/tls.h"
#include "wire/conn.h"
#include "wire/control_socket.h"

enum { PATIENCE_MS = 10 * 1000, FRAME_BYTES = 5000 };

static const struct blx_message status = {
    .type = BLX_MESSAGE_STATUS,
    .status = {.state = BLX_AGENT_LIVE, .dirty_bytes = 4096, .reason = "a test"},
};

/* The other side's status was received, or nothing was written. */
static void check_received(const struct blx_message *message, bool received)
{
    struct blx_message before;
    memset(&before, 0x5a, sizeof(before));
    if (!received)
        assert_memory_equal(message, &before, sizeof(before));
    else
        assert_true(message->type == BLX_MESSAGE_STATUS &&
                    strcmp(message->status.reason, status.status.reason) == 0);
}

/* Plain, as on the control socket. */
struct talk {
    int fds[2];
    struct blx_conn *conn;
    struct blx_message got;
    bool sent, received;
};

static uint8_t frame[FRAME_BYTES];

static void talk_setup(void *state)
{
    struct talk *talk = state;
    uint8_t encoded[BLX_MESSAGE_ENCODED_BYTES];
    size_t length = 0;
    *talk = (struct talk){0};
    memset(&talk->got, 0x5a, sizeof(talk->got));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, talk->fds), 0);
    assert_int_equal(blx_message_encode(&status, encoded, sizeof(encoded), &length), 0);
    assert_int_equal(write(talk->fds[1], encoded, length), length);
}

static int talk_run(void *state, struct blx_error *err)
{
    struct talk *talk = state;
    const struct blx_message message = {.type = BLX_MESSAGE_FRAME,
                                        .frame = {.bytes = frame, .frame_bytes = sizeof(frame)}};
    int rc = blx_conn_new(talk->fds[0], NULL, PATIENCE_MS, &talk->conn, err);
    if (rc == 0)
        rc = blx_conn_send(talk->conn, &message, err);
    talk->sent = rc == 0;
    if (rc == 0)
        rc = blx_conn_recv(talk->conn, PATIENCE_MS, &talk->got, err);
    talk->received = rc == 0;
    return rc;
}

/* A direction that failed is dead: half a message may lie in it. */
static void talk_check(void *state, int rc)
{
    struct talk *talk = state;
    struct blx_error err = {0};
    uint8_t bytes[FRAME_BYTES + BLX_FRAME_MESSAGE_PREFIX_BYTES];
    check_received(&talk->got, talk->received);
    if (talk->conn == NULL) {
        assert_true(rc < 0);
        close(talk->fds[0]); /* still ours */
        return;
    }
    if (!talk->sent)
        assert_int_equal(blx_conn_send(talk->conn, &status, &err), -EPIPE);
    else if (!talk->received)
        assert_int_equal(blx_conn_recv(talk->conn, PATIENCE_MS, &talk->got, &err), -EPIPE);
    if (talk->sent)
        assert_int_equal(recv(talk->fds[1], bytes, sizeof(bytes), MSG_WAITALL), sizeof(bytes));
}

static void talk_teardown(void *state)
{
    struct talk *talk = state;
    blx_conn_free(talk->conn);
    close(talk->fds[1]);
}

static void a_connection_that_fails_is_dead(void **state)
{
    (void)state;
    struct talk talk;
    fault_loop(&(struct fault_case){talk_setup, talk_run, talk_check, talk_teardown, 0}, &talk);
}

/* Over TLS. */
struct site {
    char dir[FOLDER_BYTES];
    struct blx_tls_context *client, *server;
    char address[32];
    int listen_fd, accepted_fd;
    pid_t peer;
    struct blx_conn *conn;
    struct blx_tls_peer other;
    struct blx_message got;
    bool received;
};

static int make_site(void **state)
{
    static struct site site;
    char bundle[96], ca[96], cert[96], key[96];
    folder_make(site.dir);
    snprintf(bundle, sizeof(bundle), "%s/web1", site.dir);
    snprintf(ca, sizeof(ca), "%s/pki/ca.pem", site.dir);
    snprintf(cert, sizeof(cert), "%s/pki/dispatcher.pem", site.dir);
    snprintf(key, sizeof(key), "%s/pki/dispatcher.key", site.dir);
    const struct blx_tls_files own = {.ca = bundle, .cert = bundle, .key = bundle};
    const struct blx_tls_files theirs = {.ca = ca, .cert = cert, .key = key};
    assert_int_equal(blx_pki_enroll(site.dir, "web1", bundle, NULL), 0);
    assert_int_equal(blx_tls_context_new_client(&own, &site.client, NULL), 0);
    assert_int_equal(blx_tls_context_new_server(&theirs, &site.server, NULL), 0);
    *state = &site;
    return 0;
}

static int remove_site(void **state)
{
    struct site *site = *state;
    blx_tls_context_free(site->client);
    blx_tls_context_free(site->server);
    folder_remove(site->dir);
    return 0;
}

/* Both sides' work when they are connected: each sends its status and takes the other's. */
static int converse(struct blx_conn *conn, struct blx_message *got, struct blx_error *err)
{
    int rc = blx_conn_send(conn, &status, err);
    return rc < 0 ? rc : blx_conn_recv(conn, PATIENCE_MS, got, err);
}

_Noreturn static void be_peer(struct site *site, bool dials)
{
    struct blx_conn *conn = NULL;
    struct blx_message got;
    struct blx_tls_peer peer;
    int rc;
    if (dials)
        rc = blx_tls_connect(site->client, site->address, PATIENCE_MS, &conn, NULL);
    else
        rc = blx_tls_accept(site->server, accept(site->listen_fd, NULL, NULL), PATIENCE_MS, &conn,
                            &peer, NULL);
    if (rc == 0 && converse(conn, &got, NULL) == 0)
        blx_conn_linger(conn, PATIENCE_MS);
    _exit(0);
}

static void start_peer(struct site *site, bool dials)
{
    struct sockaddr_in6 bound;
    socklen_t bytes = sizeof(bound);
    memset(&site->got, 0x5a, sizeof(site->got));
    site->conn = NULL;
    site->received = false;
    site->other = (struct blx_tls_peer){0};
    site->accepted_fd = -1;
    site->listen_fd = blx_address_listen("127.0.0.1:0", NULL);
    assert_true(site->listen_fd >= 0);
    assert_int_equal(getsockname(site->listen_fd, (struct sockaddr *)&bound, &bytes), 0);
    snprintf(site->address, sizeof(site->address), "127.0.0.1:%u", ntohs(bound.sin6_port));
    site->peer = fork();
    assert_true(site->peer >= 0);
    if (site->peer == 0)
        be_peer(site, dials);
}

static void end_peer(void *state)
{
    struct site *site = state;
    blx_conn_free(site->conn);
    close(site->listen_fd);
    kill(site->peer, SIGKILL); /* it may wait for a connection that never came */
    assert_int_equal(waitpid(site->peer, NULL, 0), site->peer);
}

static void connect_setup(void *state)
{
    start_peer(state, false);
}

static int connect_run(void *state, struct blx_error *err)
{
    struct site *site = state;
    int rc = blx_tls_connect(site->client, site->address, PATIENCE_MS, &site->conn, err);
    if (rc == 0)
        rc = converse(site->conn, &site->got, err);
    site->received = rc == 0;
    return rc;
}

static void connect_check(void *state, int rc)
{
    struct site *site = state;
    assert_true(rc < 0 || site->conn != NULL);
    check_received(&site->got, site->received);
}

static void accept_setup(void *state)
{
    struct site *site = state;
    start_peer(site, true);
    site->accepted_fd = accept4(site->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(site->accepted_fd >= 0);
}

/* The descriptor belongs to blx_tls_accept(), also if that fails. */
static int accept_run(void *state, struct blx_error *err)
{
    struct site *site = state;
    int rc = blx_tls_accept(site->server, site->accepted_fd, PATIENCE_MS, &site->conn, &site->other,
                            err);
    if (rc == 0)
        rc = converse(site->conn, &site->got, err);
    site->received = rc == 0;
    return rc;
}

static void accept_check(void *state, int rc)
{
    struct site *site = state;
    connect_check(state, rc);
    assert_string_equal(site->other.name, site->conn != NULL ? "web1" : "");
}

static void a_client_connects_or_leaves_nothing(void **state)
{
    fault_loop(&(struct fault_case){connect_setup, connect_run, connect_check, end_peer, 0},
               *state);
}

static void a_server_accepts_or_leaves_nothing(void **state)
{
    fault_loop(&(struct fault_case){accept_setup, accept_run, accept_check, end_peer, 0}, *state);
}

static int listen_run(void *state, struct blx_error *err)
{
    struct site *site = state;
    site->listen_fd = blx_address_listen("127.0.0.1:0", err);
    return site->listen_fd < 0 ? site->listen_fd : 0;
}

static void listen_check(void *state, int rc)
{
    struct site *site = state;
    if (rc == 0)
        close(site->listen_fd);
}

static void an_address_is_listened_on_or_nothing_is_left(void **state)
{
    fault_loop(&(struct fault_case){NULL, listen_run, listen_check, NULL, 0}, *state);
}

/* The socket in a folder, at which a daemon answers. */
struct door {
    char dir[FOLDER_BYTES];
    struct blx_control_socket control, named;
    struct blx_conn *conn;
};

static void door_setup(void *state)
{
    struct door *door = state;
    *door = (struct door){.control = {.dir_fd = -1, .listen_fd = -1},
                          .named = {.dir_fd = -1, .listen_fd = -1}};
    folder_make(door->dir);
}

static int door_run(void *state, struct blx_error *err)
{
    struct door *door = state;
    int rc = blx_control_socket_open(door->dir, &door->control, err);
    if (rc == 0)
        rc = blx_control_socket_open_as(door->dir, "control.host.sock", &door->named, err);
    return rc < 0 ? rc : blx_control_socket_connect(door->dir, PATIENCE_MS, &door->conn, err);
}

static void door_check(void *state, int rc)
{
    struct door *door = state;
    assert_int_equal(rc == 0, door->conn != NULL);
    if (door->control.listen_fd >= 0)
        assert_int_equal(blx_control_socket_close(&door->control), 0);
    if (door->named.listen_fd >= 0)
        assert_int_equal(blx_control_socket_close(&door->named), 0);
    /* Whoever comes next finds no trace. */
    assert_int_equal(blx_control_socket_open(door->dir, &door->control, NULL), 0);
    assert_int_equal(blx_control_socket_close(&door->control), 0);
}

static void door_teardown(void *state)
{
    struct door *door = state;
    blx_conn_free(door->conn);
    folder_remove(door->dir);
}

static void a_control_socket_is_opened_and_reached_or_nothing_is_left(void **state)
{
    (void)state;
    struct door door;
    fault_loop(&(struct fault_case){door_setup, door_run, door_check, door_teardown, 0}, &door);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_control_socket_is_opened_and_reached_or_nothing_is_left),
        cmocka_unit_test(a_connection_that_fails_is_dead),
        cmocka_unit_test(a_client_connects_or_leaves_nothing),
        cmocka_unit_test(a_server_accepts_or_leaves_nothing),
        cmocka_unit_test(an_address_is_listened_on_or_nothing_is_left),
    };
    return cmocka_run_group_tests(tests, make_site, remove_site);
}
