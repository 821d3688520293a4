/* SPDX-License-Identifier: Apache-2.0 */
/* A server that joins, from the address that it dials to the credentials that it writes, and the
 * contexts for that. The dispatcher is a process of its own, which nothing fails in. */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "folder.h"
#include "loop.h"
#include "sys.h"
#include "tls/address_private.h"
#include "tls/context_private.h"
#include "tls/bearer.h"
#include "tls/join.h"
#include "tls/pki.h"
#include "tls/restorer.h"
#include "tls/tls.h"
#include "wire/conn.h"
#include "wire/wait.h"

/* A server that could not send JOIN waits for an ERROR as long as the dispatcher waits for JOIN. */
enum { PATIENCE_MS = 10 * 1000, JOIN_MS = 2 * 1000 };

static char dir[FOLDER_BYTES], ca_path[96], credentials[96], address[32];
static struct blx_tls_context *server, *client;
static int listen_fd = -1;
static pid_t dispatcher;

/* Between two tries of a busy dispatcher nobody needs to wait here. */
int __wrap_nanosleep(const struct timespec *wanted, struct timespec *left);
int __wrap_nanosleep(const struct timespec *wanted, struct timespec *left)
{
    (void)wanted, (void)left;
    return 0;
}

struct joining {
    char token[BLX_TOKEN_TEXT_BYTES];
    char agent_id[BLX_NAME_BYTES];
    int fd;
    char host[BLX_HOST_BYTES];
    struct blx_tls_context *context;
    char name[BLX_NAME_BYTES];
    EVP_PKEY *key; /* of a renewal */
    struct blx_request_message request;
    struct blx_conn *conn;
    struct blx_token bearer;
    struct blx_restorer restorer;
};

static void answer(int fd)
{
    struct blx_conn *conn = NULL;
    struct blx_tls_peer peer;
    struct blx_message message, reply = {.type = BLX_MESSAGE_CERTIFICATE};
    char agent_id[BLX_NAME_BYTES];
    if (blx_tls_accept(server, fd, PATIENCE_MS, &conn, &peer, NULL) == 0 &&
        blx_conn_recv(conn, JOIN_MS, &message, NULL) == 0 && message.type == BLX_MESSAGE_JOIN &&
        blx_pki_join(dir, &message.join, agent_id, &reply.certificate, NULL) == 0 &&
        blx_conn_send(conn, &reply, NULL) == 0)
        blx_conn_linger(conn, PATIENCE_MS);
    blx_conn_free(conn);
}

static void setup(void *arg)
{
    struct joining *joining = arg;
    memset(joining, 0, sizeof(*joining));
    fault_poison(joining->agent_id, sizeof(joining->agent_id));
    fault_poison(joining->name, sizeof(joining->name));
}

static void setup_join(void *arg)
{
    struct joining *joining = arg;
    setup(arg);
    assert_int_equal(blx_pki_make_token(dir, "web1", 60, joining->token, NULL), 0);
}

static void teardown_join(void *arg)
{
    (void)arg;
    unlink(credentials);
}

static int run_join(void *arg, struct blx_error *err)
{
    struct joining *joining = arg;
    const struct blx_join join = {
        .address = address, .token = joining->token, .credentials = credentials};
    return blx_join(&join, joining->agent_id, err);
}

/* Credentials that work, or none; without them the token may be used up, and no more. */
static void check_join(void *arg, int rc)
{
    const struct joining *joining = arg;
    const struct blx_tls_files files = {.ca = credentials, .cert = credentials, .key = credentials};
    struct blx_tls_context *context = NULL;
    struct blx_error err = {0};
    if (rc < 0)
        fault_assert_poisoned(joining->agent_id, sizeof(joining->agent_id));
    else
        assert_string_equal(joining->agent_id, "web1");
    if (rc < 0 && access(credentials, F_OK) != 0)
        return;
    if (blx_tls_context_new_client(&files, &context, &err) < 0)
        fail_msg("%s", err.message);
    blx_tls_context_free(context);
}

static void a_join_gives_credentials_that_work_or_none(void **state)
{
    (void)state;
    struct joining joining;
    fault_loop(&(struct fault_case){setup_join, run_join, check_join, teardown_join, 0}, &joining);
}

static void setup_bearer(void *arg)
{
    struct joining *joining = arg;
    setup_join(arg);
    assert_int_equal(blx_token_parse(joining->token, &joining->bearer, NULL), 0);
}

/* Nothing is left of a connection that was not made, and nothing of the token was shown. */
static int run_bearer(void *arg, struct blx_error *err)
{
    struct joining *joining = arg;
    return blx_bearer_dial(&joining->bearer, BLX_TLS_JOIN, address, &joining->conn, err);
}

static void check_bearer(void *arg, int rc)
{
    struct joining *joining = arg;
    assert_int_equal(joining->conn != NULL, rc == 0);
    blx_conn_free(joining->conn);
}

static void a_bearers_connection_is_made_or_nothing_is_left(void **state)
{
    (void)state;
    struct joining joining;
    fault_loop(&(struct fault_case){setup_bearer, run_bearer, check_bearer, NULL, 0}, &joining);
}

/* A machine that restores has its secret before it shows a token. */
static int run_restorer(void *arg, struct blx_error *err)
{
    struct joining *joining = arg;
    return blx_restorer_begin(&joining->restorer, joining->token, dir, address, err);
}

static void check_restorer(void *arg, int rc)
{
    static const uint8_t none[BLX_MACHINE_BYTES];
    struct joining *joining = arg;
    struct blx_restorer again;
    struct blx_error err = {0};
    if (rc == 0) {
        assert_memory_not_equal(joining->restorer.hello.machine, none, sizeof(none));
        if (blx_restorer_begin(&again, joining->token, dir, address, &err) < 0)
            fail_msg("%s", err.message);
        assert_true(again.again);
        assert_memory_equal(again.hello.machine, joining->restorer.hello.machine, sizeof(none));
    }
    blx_restorer_forget(&joining->restorer);
    blx_restorer_wipe(&joining->restorer);
}

static void setup_restorer(void *arg)
{
    setup_join(arg);
    assert_int_equal(run_restorer(arg, NULL), 0);
}

static int run_restorer_dial(void *arg, struct blx_error *err)
{
    struct joining *joining = arg;
    return blx_restorer_dial(&joining->restorer, &joining->conn, err);
}

static void check_restorer_dial(void *arg, int rc)
{
    struct joining *joining = arg;
    check_bearer(arg, rc);
    blx_restorer_forget(&joining->restorer);
}

static void a_restorer_has_its_secret_or_nothing(void **state)
{
    (void)state;
    struct joining joining;
    fault_loop(&(struct fault_case){setup_join, run_restorer, check_restorer, NULL, 0}, &joining);
    fault_loop(
        &(struct fault_case){setup_restorer, run_restorer_dial, check_restorer_dial, NULL, 0},
        &joining);
}

static int run_dial(void *arg, struct blx_error *err)
{
    struct joining *joining = arg;
    joining->fd = blx_address_dial(address, blx_deadline_in_ms(PATIENCE_MS), joining->host, err);
    return joining->fd < 0 ? joining->fd : 0;
}

static void check_dial(void *arg, int rc)
{
    const struct joining *joining = arg;
    if (rc < 0)
        return;
    assert_string_equal(joining->host, "127.0.0.1");
    assert_int_equal(close(joining->fd), 0);
}

static int wait_fd(void *arg, struct blx_error *err)
{
    struct joining *joining = arg;
    (void)err;
    return blx_wait_fd(joining->fd, POLLOUT, blx_deadline_in_ms(PATIENCE_MS));
}

static void setup_wait(void *arg)
{
    setup(arg);
    assert_int_equal(run_dial(arg, NULL), 0);
}

static void check_wait(void *arg, int rc)
{
    assert_true(rc == 0 || rc == -ENOMEM);
    assert_int_equal(close(((struct joining *)arg)->fd), 0);
}

static void an_address_is_dialled_or_nothing_is_left(void **state)
{
    (void)state;
    struct joining joining;
    fault_loop(&(struct fault_case){setup, run_dial, check_dial, NULL, 0}, &joining);
    fault_loop(&(struct fault_case){setup_wait, wait_fd, check_wait, NULL, 1}, &joining);
}

/* Contexts. */

static int run_context(void *arg, struct blx_error *err)
{
    static const uint8_t fingerprint[BLX_FINGERPRINT_BYTES] = {1};
    return blx_tls_context_new_bearer(fingerprint, BLX_TLS_JOIN, &((struct joining *)arg)->context,
                                      err);
}

static void check_context(void *arg, int rc)
{
    const struct joining *joining = arg;
    assert_int_equal(joining->context != NULL, rc == 0);
    blx_tls_context_free(joining->context);
}

static int run_admit(void *arg, struct blx_error *err)
{
    (void)arg;
    return blx_tls_context_admit_tokens(server, ca_path, err);
}

static void setup_admit(void *arg)
{
    setup(arg);
    X509_free(server->token_ca);
    server->token_ca = NULL;
}

/* It admits nobody to whom it could not show its CA. */
static void check_admit(void *arg, int rc)
{
    (void)arg;
    assert_int_equal(server->token_ca != NULL, rc == 0);
}

static int run_name(void *arg, struct blx_error *err)
{
    return blx_tls_context_name(client, ((struct joining *)arg)->name, err);
}

static void check_name(void *arg, int rc)
{
    const struct joining *joining = arg;
    if (rc < 0)
        fault_assert_poisoned(joining->name, sizeof(joining->name));
    else
        assert_string_equal(joining->name, "web0");
}

static int run_request(void *arg, struct blx_error *err)
{
    struct joining *joining = arg;
    return blx_renew_request(&joining->key, &joining->request, err);
}

static void check_request(void *arg, int rc)
{
    const struct joining *joining = arg;
    assert_int_equal(joining->key != NULL, rc == 0);
    assert_int_equal(joining->request.request_bytes > 0, rc == 0);
    EVP_PKEY_free(joining->key);
}

static void a_renewal_begins_or_not(void **state)
{
    (void)state;
    struct joining joining;
    fault_loop(&(struct fault_case){setup, run_request, check_request, NULL, 0}, &joining);
}

static void a_context_is_made_whole_or_not_at_all(void **state)
{
    (void)state;
    struct joining joining;
    fault_loop(&(struct fault_case){setup, run_context, check_context, NULL, 0}, &joining);
    fault_loop(&(struct fault_case){setup_admit, run_admit, check_admit, NULL, 0}, &joining);
    fault_loop(&(struct fault_case){setup, run_name, check_name, NULL, 0}, &joining);
}

static int make_site(void **state)
{
    struct sockaddr_in6 bound;
    socklen_t bytes = sizeof(bound);
    char bundle[96], cert[96], key[96];
    (void)state;
    folder_make(dir);
    snprintf(bundle, sizeof(bundle), "%s/web0.pem", dir);
    snprintf(credentials, sizeof(credentials), "%s/joined.pem", dir);
    snprintf(ca_path, sizeof(ca_path), "%s/pki/ca.pem", dir);
    snprintf(cert, sizeof(cert), "%s/pki/dispatcher.pem", dir);
    snprintf(key, sizeof(key), "%s/pki/dispatcher.key", dir);
    const struct blx_tls_files own = {.ca = bundle, .cert = bundle, .key = bundle},
                               theirs = {.ca = ca_path, .cert = cert, .key = key};
    assert_int_equal(blx_pki_enroll(dir, "web0", bundle, NULL), 0);
    assert_int_equal(blx_tls_context_new_client(&own, &client, NULL), 0);
    assert_int_equal(blx_tls_context_new_server(&theirs, &server, NULL), 0);
    assert_int_equal(run_admit(NULL, NULL), 0);
    listen_fd = blx_address_listen("127.0.0.1:0", NULL);
    assert_true(listen_fd >= 0);
    assert_int_equal(getsockname(listen_fd, (struct sockaddr *)&bound, &bytes), 0);
    snprintf(address, sizeof(address), "127.0.0.1:%u", ntohs(bound.sin6_port));
    sys_use_fast();
    dispatcher = fork();
    assert_true(dispatcher >= 0);
    while (dispatcher == 0)
        answer(accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC));
    return 0;
}

static int remove_site(void **state)
{
    (void)state;
    kill(dispatcher, SIGKILL); /* it waits for the next one */
    assert_int_equal(waitpid(dispatcher, NULL, 0), dispatcher);
    close(listen_fd);
    blx_tls_context_free(client);
    blx_tls_context_free(server);
    folder_remove(dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_is_dialled_or_nothing_is_left),
        cmocka_unit_test(a_context_is_made_whole_or_not_at_all),
        cmocka_unit_test(a_renewal_begins_or_not),
        cmocka_unit_test(a_join_gives_credentials_that_work_or_none),
        cmocka_unit_test(a_bearers_connection_is_made_or_nothing_is_left),
        cmocka_unit_test(a_restorer_has_its_secret_or_nothing),
    };
    return cmocka_run_group_tests(tests, make_site, remove_site);
}
