/* SPDX-License-Identifier: Apache-2.0 */
/* The states of a session: its real threads, over a socket without TLS, without a volume. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/session/rescan_private.h"
#include "agent/session/session_private.h"

enum { TIMEOUT_MS = 10 * 1000, HEARTBEAT_MS = 60 * 1000 };

static const struct blx_config config = {.id = "web1"};

struct fixture {
    struct agent agent;
    struct agent_session session;
    struct blx_conn *dispatcher; /* the other end */
};

static void init_lock(struct agent *agent)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&agent->lock, NULL);
    pthread_cond_init(&agent->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    int fds[2];
    assert_non_null(fixture);
    fixture->agent.config = &config;
    init_lock(&fixture->agent);
    assert_int_equal(agent_pipeline_start(BLX_CODEC_NONE, &fixture->agent.pipeline, NULL), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    fixture->session.agent = &fixture->agent;
    fixture->session.welcome.heartbeat_ms = HEARTBEAT_MS;
    assert_int_equal(blx_conn_new(fds[0], NULL, TIMEOUT_MS, &fixture->session.conn, NULL), 0);
    assert_int_equal(blx_conn_new(fds[1], NULL, TIMEOUT_MS, &fixture->dispatcher, NULL), 0);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    blx_conn_free(fixture->session.conn);
    blx_conn_free(fixture->dispatcher);
    agent_pipeline_stop(fixture->agent.pipeline);
    free(fixture);
    return 0;
}

static int wait_for_end(struct agent_session *session, struct blx_error *err)
{
    struct agent *agent = session->agent;
    int rc;
    pthread_mutex_lock(&agent->lock);
    while ((rc = agent_session_check_locked(session, err)) == 0)
        agent_wait_locked(agent, TIMEOUT_MS);
    pthread_mutex_unlock(&agent->lock);
    return rc;
}

static void send_error(struct fixture *fixture, const char *text)
{
    struct blx_message message = {.type = BLX_MESSAGE_ERROR};
    strcpy(message.error.text, text);
    assert_int_equal(blx_conn_send(fixture->dispatcher, &message, NULL), 0);
}

static void session_that_stops_says_goodbye(void **state)
{
    struct fixture *fixture = *state;
    struct agent_session *session = &fixture->session;
    struct blx_message message;
    assert_int_equal(session->state, AGENT_SESSION_GREETING);
    assert_int_equal(agent_session_start(session, NULL), 0);
    assert_true(agent_session_is_alive(session));
    agent_session_stop(session);
    assert_int_equal(session->state, AGENT_SESSION_ENDED);
    assert_int_equal(blx_conn_recv(fixture->dispatcher, TIMEOUT_MS, &message, NULL), 0);
    assert_int_equal(message.type, BLX_MESSAGE_GOODBYE);
}

static void session_that_failed_keeps_its_first_reason_and_says_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct agent_session *session = &fixture->session;
    struct blx_message message;
    struct blx_error err = {0};
    assert_int_equal(agent_session_start(session, NULL), 0);
    send_error(fixture, "enough");
    assert_int_equal(wait_for_end(session, &err), -ECONNABORTED);
    assert_non_null(strstr(err.message, "enough"));
    blx_error_clear(&err);
    blx_error_set(&err, -EIO, "later");
    agent_session_fail(session, -EIO, &err);
    assert_int_equal(session->rc, -ECONNABORTED);
    assert_int_equal(session->state, AGENT_SESSION_FAILED);
    agent_session_stop(session);
    assert_int_equal(session->state, AGENT_SESSION_ENDED);
    assert_true(blx_conn_recv(fixture->dispatcher, TIMEOUT_MS, &message, NULL) < 0);
}

/* A dispatcher that was broken into: each order costs the server something. */
static void session_of_too_many_orders_ends(void **state)
{
    struct fixture *fixture = *state;
    struct agent_session *session = &fixture->session;
    const struct blx_message order = {.type = BLX_MESSAGE_RESCAN_REQUEST};
    struct blx_error err = {0};
    assert_int_equal(agent_session_start(session, NULL), 0);
    unsigned sent = 0;
    while (sent < 200 && blx_conn_send(fixture->dispatcher, &order, NULL) == 0)
        sent++;
    assert_int_equal(wait_for_end(session, &err), -EPROTO);
    assert_non_null(strstr(err.message, "orders too often"));
    agent_session_stop(session);
    assert_in_range(fixture->agent.orders.taken, 100, 140); /* so many are an honest one's */
}

static void rescans_that_are_ordered_too_often_wait(void **state)
{
    struct fixture *fixture = *state;
    struct agent_session *session = &fixture->session;
    for (int i = 0; i < 16; i++) {
        session->wants_rescan = true;
        agent_rescan_take_order(session);
        assert_false(session->wants_rescan || session->rescan_is_held);
    }
    session->wants_rescan = true;
    agent_rescan_take_order(session);
    assert_true(session->rescan_is_held && !session->wants_rescan);
    agent_rescan_take_order(session);
    assert_true(session->rescan_is_held);
    /* It is not forgotten. */
    fixture->agent.rescans.taken--;
    agent_rescan_take_order(session);
    assert_false(session->rescan_is_held);
}

static void stop_wins_over_rejoin_and_lasts(void **state)
{
    struct fixture *fixture = *state;
    struct agent *agent = &fixture->agent;
    pthread_mutex_lock(&agent->lock);
    assert_int_equal(agent_session_check_locked(&fixture->session, NULL), 0);
    agent_rejoin_locked(agent);
    assert_int_equal(agent_session_check_locked(&fixture->session, NULL), -ERESTART);
    pthread_mutex_unlock(&agent->lock);
    agent_stop(agent);
    pthread_mutex_lock(&agent->lock);
    agent_rejoin_locked(agent);
    assert_int_equal(agent_session_check_locked(&fixture->session, NULL), -ECANCELED);
    pthread_mutex_unlock(&agent->lock);
    assert_true(agent_is_stopping(agent));
}

#ifdef BLX_ASSERTS
static void transition_that_is_not_drawn_aborts(void **state)
{
    struct fixture *fixture = *state;
    pid_t child = fork();
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0});
        signal(SIGABRT, SIG_DFL);
        close(STDERR_FILENO);
        agent_session_leave(&fixture->session); /* GREETING to ENDED */
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}
#endif

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(session_that_stops_says_goodbye),
        TEST(session_that_failed_keeps_its_first_reason_and_says_nothing),
        TEST(session_of_too_many_orders_ends),
        TEST(rescans_that_are_ordered_too_often_wait),
        TEST(stop_wins_over_rejoin_and_lasts),
#ifdef BLX_ASSERTS
        TEST(transition_that_is_not_drawn_aborts),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
