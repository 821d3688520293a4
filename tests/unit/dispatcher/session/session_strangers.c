/* SPDX-License-Identifier: Apache-2.0 */
/* Peers that show no certificate: they must keep no agent out, and cost little. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/units.h"
#include "fake_agent.h"
#include "tls/pki.h"

enum { STRANGERS = 80, FLOODS = 2, BACK_MS = 10 * 1000 };

static int setup(void **state)
{
    *state = fake_site_start(DISPATCHER_HEARTBEAT_MS);
    return 0;
}

static int teardown(void **state)
{
    fake_site_stop(*state);
    return 0;
}

/* A TCP connection from that address of the loopback's network, which says nothing. */
static int connect_from(const struct fake_site *site, const char *from)
{
    unsigned port = 0;
    struct sockaddr_in here = {.sin_family = AF_INET}, there = {.sin_family = AF_INET};
    assert_int_equal(sscanf(site->address, "127.0.0.1:%u", &port), 1);
    there.sin_port = htons((uint16_t)port);
    there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(inet_pton(AF_INET, from, &here.sin_addr), 1);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&here, sizeof(here)), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&there, sizeof(there)), 0);
    return fd;
}

/* A connection as a server that joins has it. */
static struct blx_conn *connect_to_join(const struct fake_site *site)
{
    char text[BLX_TOKEN_TEXT_BYTES];
    struct blx_token token;
    struct blx_tls_context *tls = NULL;
    struct blx_conn *conn = NULL;
    assert_int_equal(blx_pki_make_token(site->data_dir, "web2", 60, text, NULL), 0);
    assert_int_equal(blx_token_parse(text, &token, NULL), 0);
    assert_int_equal(blx_tls_context_new_bearer(token.ca_fingerprint, BLX_TLS_JOIN, &tls, NULL), 0);
    if (blx_tls_connect(tls, site->address, 3000, &conn, NULL) < 0)
        conn = NULL;
    blx_tls_context_free(tls);
    return conn;
}

/* PINGs until the dispatcher has had enough; how many it took. */
static unsigned flood(struct blx_conn *conn)
{
    const struct blx_message ping = {.type = BLX_MESSAGE_PING};
    unsigned sent = 0;
    uint64_t end_ns = blx_deadline_in_ms(30 * 1000);
    while (blx_clock_ns() < end_ns && blx_conn_send(conn, &ping, NULL) == 0)
        sent++;
    return sent;
}

static void pings_before_join_end_the_connection(void **state)
{
    struct blx_conn *conn = connect_to_join(*state);
    struct blx_message message = {.type = BLX_MESSAGE_PING};
    assert_non_null(conn);
    uint64_t begun_ns = blx_clock_ns();
    assert_int_equal(blx_conn_send(conn, &message, NULL), 0);
    assert_int_equal(blx_conn_recv(conn, FAKE_RECV_MS, &message, NULL), 0);
    assert_int_equal(message.type, BLX_MESSAGE_ERROR);
    assert_non_null(strstr(message.error.text, "expected JOIN, got PING"));
    blx_conn_free(conn);
    conn = connect_to_join(*state);
    assert_non_null(conn);
    flood(conn);
    assert_true(blx_clock_ns() - begun_ns < UINT64_C(5000000000));
    blx_conn_free(conn);
}

static void pings_before_hello_end_the_connection(void **state)
{
    struct fake_agent *agent = fake_agent_connect(*state, "web1", NULL);
    fake_agent_send(agent, &(struct blx_message){.type = BLX_MESSAGE_PING});
    fake_agent_expect_error(agent, "expected HELLO, got PING");
    fake_agent_close(agent);
}

/* 80 connections that idle and two that flood, each of which comes back as soon as it is cut. */
struct crowd {
    const struct fake_site *site;
    const char *from;
    atomic_bool stop;
    atomic_uint tries;
};

static void *idle_main(void *arg)
{
    struct crowd *crowd = arg;
    struct pollfd fds[STRANGERS];
    for (int i = 0; i < STRANGERS; i++)
        fds[i] = (struct pollfd){.fd = connect_from(crowd->site, crowd->from), .events = POLLIN};
    while (!atomic_load(&crowd->stop)) {
        if (poll(fds, STRANGERS, 100) <= 0)
            continue;
        for (int i = 0; i < STRANGERS; i++) {
            if (fds[i].revents == 0)
                continue;
            close(fds[i].fd);
            fds[i].fd = connect_from(crowd->site, crowd->from);
            atomic_fetch_add(&crowd->tries, 1);
        }
        usleep(20000);
    }
    for (int i = 0; i < STRANGERS; i++)
        close(fds[i].fd);
    return NULL;
}

static void *flood_main(void *arg)
{
    struct crowd *crowd = arg;
    while (!atomic_load(&crowd->stop)) {
        struct blx_conn *conn = connect_to_join(crowd->site);
        if (conn == NULL)
            continue;
        flood(conn);
        blx_conn_free(conn);
    }
    return NULL;
}

/* Tries as an agent does, until it is welcome; the milliseconds. */
static uint64_t come_back(const struct fake_site *site, struct fake_agent *earlier)
{
    uint64_t begun_ns = blx_clock_ns();
    for (;;) {
        struct blx_conn *conn = NULL;
        if (blx_tls_connect(earlier->tls, site->address, 5000, &conn, NULL) == 0) {
            blx_conn_free(earlier->conn);
            earlier->conn = conn;
            fake_agent_greet(earlier, "web1");
            return (blx_clock_ns() - begun_ns) / 1000000;
        }
        assert_true(blx_clock_ns() - begun_ns < UINT64_C(60) * 1000000000);
        usleep(200000);
    }
}

static void agent_comes_back_through_a_crowd(const struct fake_site *site, const char *from)
{
    struct fake_agent *agent = fake_agent_online(site, "web1");
    struct crowd crowd = {.site = site, .from = from};
    pthread_t threads[1 + FLOODS];
    for (int i = 0; i < 1 + FLOODS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, i == 0 ? idle_main : flood_main, &crowd),
                         0);
    uint64_t worst_ms = 0;
    for (int round = 0; round < 3; round++) {
        sleep(2);
        blx_conn_shutdown(agent->conn);
        uint64_t ms = come_back(site, agent);
        worst_ms = ms > worst_ms ? ms : worst_ms;
    }
    atomic_store(&crowd.stop, true);
    for (int i = 0; i < 1 + FLOODS; i++)
        pthread_join(threads[i], NULL);
    printf("through strangers from %s, who came back %u times: %llu ms at most\n", from,
           atomic_load(&crowd.tries), (unsigned long long)worst_ms);
    assert_true(worst_ms < BACK_MS);
    fake_agent_close(agent);
}

static void strangers_of_another_address_keep_no_agent_out(void **state)
{
    agent_comes_back_through_a_crowd(*state, "127.0.0.2");
}

static void strangers_of_the_agents_address_keep_no_agent_out(void **state)
{
    agent_comes_back_through_a_crowd(*state, "127.0.0.1");
}

static unsigned count_pending(struct fake_site *site)
{
    pthread_mutex_lock(&site->dispatcher.registry.lock);
    unsigned pending = site->dispatcher.registry.pending;
    pthread_mutex_unlock(&site->dispatcher.registry.lock);
    return pending;
}

static void a_source_has_a_part_of_the_places(void **state)
{
    struct fake_site *site = *state;
    int fds[STRANGERS];
    for (int i = 0; i < STRANGERS; i++)
        fds[i] = connect_from(site, "127.0.0.2");
    for (int i = 0; i < 6000 && count_pending(site) < DISPATCHER_MAX_FROM_SOURCE; i++)
        usleep(10000);
    usleep(200000);
    assert_int_equal(count_pending(site), DISPATCHER_MAX_FROM_SOURCE);
    /* Nobody else is kept out by that. */
    assert_int_equal(dispatcher_registry_count_kept_out(&site->dispatcher.registry), 0);
    struct fake_agent *agent = fake_agent_online(site, "web1");
    fake_agent_close(agent);
    for (int i = 0; i < STRANGERS; i++)
        close(fds[i]);
}

static void an_agent_that_is_refused_is_counted(void **state)
{
    struct fake_site *site = *state;
    int fds[5][DISPATCHER_MAX_FROM_SOURCE];
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < DISPATCHER_MAX_FROM_SOURCE; k++) {
            char from[32];
            snprintf(from, sizeof(from), "127.0.1.%d", i + 1);
            fds[i][k] = connect_from(site, from);
        }
    for (int i = 0; i < 6000; i++) {
        if (dispatcher_registry_count_kept_out(&site->dispatcher.registry) > 0)
            break;
        usleep(10000);
    }
    assert_in_range(dispatcher_registry_count_kept_out(&site->dispatcher.registry), 1,
                    DISPATCHER_MAX_FROM_SOURCE);
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < DISPATCHER_MAX_FROM_SOURCE; k++)
            close(fds[i][k]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(pings_before_join_end_the_connection),
        TEST(pings_before_hello_end_the_connection),
        TEST(strangers_of_another_address_keep_no_agent_out),
        TEST(strangers_of_the_agents_address_keep_no_agent_out),
        TEST(a_source_has_a_part_of_the_places),
        TEST(an_agent_that_is_refused_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
