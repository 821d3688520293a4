/* SPDX-License-Identifier: Apache-2.0 */
/* The connection over TLS: two threads share one SSL object. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/queue.h"
#include "base/units.h"
#include "fixture.h"
#include "wire/conn.h"

enum { FRAMES = 60, FRAME_BYTES = 270000 };

static int setup(void **state)
{
    struct pair *pair = calloc(1, sizeof(*pair));
    struct fixture *fixture = NULL;
    fixture_setup((void **)&fixture);
    pair_make(pair, fixture);
    fixture_teardown((void **)&fixture);
    *state = pair;
    return 0;
}

static int teardown(void **state)
{
    pair_free(*state);
    free(*state);
    return 0;
}

/*
 * One side of the busiest conversation: big frames out, while the other's frames and
 * acknowledgements come in. The receiving thread must not wait to send here, because both sides
 * fill each other's sockets; so a third thread acknowledges.
 */
struct side {
    struct blx_conn *conn;
    struct blx_queue *to_ack; /* numbers of frames, from 1 */
};

static void *send_acks(void *arg)
{
    struct side *side = arg;
    void *entry = NULL;
    while (blx_queue_pop(side->to_ack, UINT64_MAX, &entry) == 0) {
        const struct blx_message ack = {.type = BLX_MESSAGE_ACK,
                                        .ack = {.durable_seq = (uintptr_t)entry}};
        if (blx_conn_send(side->conn, &ack, NULL) < 0)
            return NULL;
    }
    return arg;
}

static void *send_frames(void *arg)
{
    struct side *side = arg;
    uint8_t *bytes = malloc(FRAME_BYTES);
    int rc = 0;
    for (unsigned i = 0; i < FRAMES && rc == 0; i++) {
        for (size_t at = 0; at < FRAME_BYTES; at++)
            bytes[at] = (uint8_t)(at * 13 + i);
        const struct blx_message frame = {
            .type = BLX_MESSAGE_FRAME,
            .frame = {.volume = i % 64, .bytes = bytes, .frame_bytes = FRAME_BYTES}};
        rc = blx_conn_send(side->conn, &frame, NULL);
    }
    free(bytes);
    return rc == 0 ? arg : NULL;
}

static bool is_frame(const struct blx_message *message, unsigned number)
{
    if (message->frame.volume != number % 64 || message->frame.frame_bytes != FRAME_BYTES)
        return false;
    for (size_t at = 0; at < FRAME_BYTES; at++) {
        if (message->frame.bytes[at] != (uint8_t)(at * 13 + number))
            return false;
    }
    return true;
}

static void *receive_frames(void *arg)
{
    struct side *side = arg;
    uintptr_t acked = 0;
    for (uintptr_t frames = 0; frames < FRAMES || acked < FRAMES;) {
        struct blx_message got;
        if (blx_conn_recv(side->conn, 20000, &got, NULL) < 0)
            break;
        if (got.type == BLX_MESSAGE_ACK && got.ack.durable_seq != ++acked)
            break;
        if (got.type == BLX_MESSAGE_ACK)
            continue;
        if (!is_frame(&got, (unsigned)frames++))
            break;
        blx_queue_push(side->to_ack, (void *)frames);
    }
    blx_queue_close(side->to_ack);
    return acked == FRAMES ? arg : NULL;
}

static void conn_carries_frames_and_acks_both_ways_at_once(void **state)
{
    struct pair *pair = *state;
    struct side sides[2] = {{.conn = pair->client, .to_ack = blx_queue_new(FRAMES)},
                            {.conn = pair->server, .to_ack = blx_queue_new(FRAMES)}};
    void *(*const work[])(void *) = {receive_frames, send_frames, send_acks};
    pthread_t threads[6];
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work[i % 3], &sides[i / 3]), 0);
    for (size_t i = 0; i < 6; i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        if (result == NULL)
            fail_msg("thread %zu failed", i);
    }
    blx_queue_free(sides[0].to_ack);
    blx_queue_free(sides[1].to_ack);
    assert_int_equal(blx_conn_sent_bytes(pair->client), blx_conn_received_bytes(pair->server));
    assert_int_equal(blx_conn_sent_bytes(pair->client), (uint64_t)FRAMES * (16 + FRAME_BYTES + 24));
}

static const struct blx_message ping = {.type = BLX_MESSAGE_PING};

/* poll() does not show bytes that SSL has read already. */
static void conn_finds_messages_that_came_in_one_record(void **state)
{
    struct pair *pair = *state;
    struct blx_message got;
    for (int i = 0; i < 50; i++)
        assert_int_equal(blx_conn_send(pair->client, &ping, NULL), 0);
    for (int i = 0; i < 50; i++)
        assert_int_equal(blx_conn_recv(pair->server, 10000, &got, NULL), 0);
    assert_int_equal(blx_conn_recv(pair->server, 0, &got, NULL), -ETIMEDOUT);
}

static void *recv_once(void *arg)
{
    struct blx_message got;
    return (void *)(intptr_t)blx_conn_recv(arg, UINT64_MAX, &got, NULL);
}

static void *send_until_error(void *arg)
{
    static const uint8_t bytes[FRAME_BYTES];
    const struct blx_message frame = {.type = BLX_MESSAGE_FRAME,
                                      .frame = {.bytes = bytes, .frame_bytes = sizeof(bytes)}};
    int rc = 0;
    while (rc == 0)
        rc = blx_conn_send(arg, &frame, NULL);
    return (void *)(intptr_t)rc;
}

static void conn_shutdown_wakes_everybody(void **state)
{
    struct pair *pair = *state;
    pthread_t threads[3];
    assert_int_equal(pthread_create(&threads[0], NULL, recv_once, pair->client), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, send_until_error, pair->client), 0);
    assert_int_equal(pthread_create(&threads[2], NULL, send_until_error, pair->client), 0);
    while (blx_conn_sent_bytes(pair->client) < FRAME_BYTES)
        sched_yield();
    blx_conn_shutdown(pair->client);
    for (size_t i = 0; i < 3; i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        assert_int_equal((intptr_t)result, -EPIPE);
    }
}

static void conn_sends_while_another_thread_waits_to_receive(void **state)
{
    struct pair *pair = *state;
    pthread_t thread;
    void *result = NULL;
    struct blx_message got;
    assert_int_equal(pthread_create(&thread, NULL, recv_once, pair->client), 0);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(blx_conn_send(pair->client, &ping, NULL), 0);
        assert_int_equal(blx_conn_recv(pair->server, 10000, &got, NULL), 0);
    }
    assert_int_equal(blx_conn_send(pair->server, &ping, NULL), 0);
    pthread_join(thread, &result);
    assert_int_equal((intptr_t)result, 0);
}

static void conn_of_a_closed_peer_gives_epipe(void **state)
{
    struct pair *pair = *state;
    assert_true(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    blx_conn_free(pair->server);
    pair->server = NULL;
    struct blx_message got;
    struct blx_error err = {0};
    assert_int_equal(blx_conn_recv(pair->client, 10000, &got, &err), -EPIPE);
    assert_non_null(strstr(err.message, "closed"));
    /* The first send may still find room in the socket; after it the reset is known. */
    int rc = 0;
    for (int i = 0; i < 1000 && rc == 0; i++) {
        rc = blx_conn_send(pair->client, &ping, NULL);
        sched_yield();
    }
    assert_true(rc == -EPIPE || rc == -ECONNRESET);
}

static void *say_why_and_linger(void *arg)
{
    struct blx_conn *conn = arg;
    const struct blx_message error = {.type = BLX_MESSAGE_ERROR, .error = {.text = "disk full"}};
    blx_conn_send(conn, &error, NULL);
    blx_conn_linger(conn, 10000);
    blx_conn_free(conn);
    return NULL;
}

/* The agent sends without end; the dispatcher's last message must reach it nevertheless. */
static void conn_last_word_is_read_by_a_peer_that_sends(void **state)
{
    struct pair *pair = *state;
    pthread_t sender;
    pthread_t ender;
    assert_int_equal(pthread_create(&sender, NULL, send_until_error, pair->client), 0);
    while (blx_conn_sent_bytes(pair->client) < FRAME_BYTES)
        sched_yield();
    assert_int_equal(pthread_create(&ender, NULL, say_why_and_linger, pair->server), 0);
    pair->server = NULL;
    struct blx_message got;
    assert_int_equal(blx_conn_recv(pair->client, 10000, &got, NULL), 0);
    assert_int_equal(got.type, BLX_MESSAGE_ERROR);
    assert_string_equal(got.error.text, "disk full");
    blx_conn_shutdown(pair->client);
    pthread_join(sender, NULL);
    blx_conn_free(pair->client);
    pair->client = NULL;
    pthread_join(ender, NULL);
}

/* Bytes that were read ahead are received without waiting for the socket; the memory for them is
 * held until the connection is idle. */
static void conn_reads_ahead_and_gives_the_memory_back(void **state)
{
    enum { MESSAGES = 100 };
    struct pair *pair = *state;
    struct blx_message got;
    for (uint64_t i = 1; i <= MESSAGES; i++) {
        const struct blx_message ack = {.type = BLX_MESSAGE_ACK, .ack = {.durable_seq = i}};
        assert_int_equal(blx_conn_send(pair->client, &ack, NULL), 0);
    }
    for (uint64_t i = 1; i <= MESSAGES; i++) {
        assert_int_equal(blx_conn_recv(pair->server, 10000, &got, NULL), 0);
        assert_int_equal(got.ack.durable_seq, i);
    }
    assert_int_equal(blx_conn_recv(pair->server, 0, &got, NULL), -ETIMEDOUT);
    uint64_t idle_ns = blx_conn_idle_ns(pair->server);
    assert_true(idle_ns > blx_clock_ns() && idle_ns < blx_clock_ns() + 2 * UINT64_C(1000000000));
    while (blx_clock_ns() <= idle_ns)
        usleep(10000);
    assert_int_equal(blx_conn_recv(pair->server, 0, &got, NULL), -ETIMEDOUT);
    assert_true(blx_conn_idle_ns(pair->server) == UINT64_MAX);

    assert_int_equal(blx_conn_send(pair->client, &ping, NULL), 0);
    assert_int_equal(blx_conn_recv(pair->server, 10000, &got, NULL), 0);
    assert_int_equal(got.type, BLX_MESSAGE_PING);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(conn_carries_frames_and_acks_both_ways_at_once),
        TEST(conn_finds_messages_that_came_in_one_record),
        TEST(conn_reads_ahead_and_gives_the_memory_back),
        TEST(conn_shutdown_wakes_everybody),
        TEST(conn_sends_while_another_thread_waits_to_receive),
        TEST(conn_of_a_closed_peer_gives_epipe),
        TEST(conn_last_word_is_read_by_a_peer_that_sends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
