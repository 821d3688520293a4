/* SPDX-License-Identifier: Apache-2.0 */
/* Over a UNIX socket pair; tests/unit/tls/conn.c does the same over TLS. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/units.h"
#include "wire/conn.h"

struct ends {
    struct blx_conn *a;
    struct blx_conn *b;
    int raw; /* the other end of `a`, if there is no `b` */
};

static int make_ends(struct ends *ends, bool both)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ends->raw = -1;
    ends->b = NULL;
    assert_int_equal(blx_conn_new(fds[0], NULL, 10000, &ends->a, NULL), 0);
    if (both)
        assert_int_equal(blx_conn_new(fds[1], NULL, 10000, &ends->b, NULL), 0);
    else
        ends->raw = fds[1];
    return 0;
}

static int setup_both(void **state)
{
    *state = malloc(sizeof(struct ends));
    return make_ends(*state, true);
}

static int setup_raw(void **state)
{
    *state = malloc(sizeof(struct ends));
    return make_ends(*state, false);
}

static int teardown(void **state)
{
    struct ends *ends = *state;
    blx_conn_free(ends->a);
    blx_conn_free(ends->b);
    if (ends->raw >= 0)
        close(ends->raw);
    free(ends);
    return 0;
}

static const struct blx_message ping = {.type = BLX_MESSAGE_PING};

static struct blx_message frame_of(const uint8_t *bytes, size_t length)
{
    return (struct blx_message){.type = BLX_MESSAGE_FRAME,
                                .frame = {.volume = 3, .bytes = bytes, .frame_bytes = length}};
}

static void conn_carries_messages_both_ways(void **state)
{
    struct ends *ends = *state;
    struct blx_message ack = {.type = BLX_MESSAGE_ACK, .ack = {.volume = 2, .durable_seq = 77}};
    struct blx_message got;
    assert_int_equal(blx_conn_send(ends->a, &ack, NULL), 0);
    assert_int_equal(blx_conn_send(ends->a, &ping, NULL), 0);
    assert_int_equal(blx_conn_recv(ends->b, 10000, &got, NULL), 0);
    assert_int_equal(got.type, BLX_MESSAGE_ACK);
    assert_int_equal(got.ack.durable_seq, 77);
    assert_int_equal(blx_conn_recv(ends->b, 10000, &got, NULL), 0);
    assert_int_equal(got.type, BLX_MESSAGE_PING);
    assert_int_equal(blx_conn_send(ends->b, &ping, NULL), 0);
    assert_int_equal(blx_conn_recv(ends->a, 10000, &got, NULL), 0);
    assert_int_equal(blx_conn_sent_bytes(ends->a), 8 + 16 + 8);
    assert_int_equal(blx_conn_received_bytes(ends->b), 8 + 16 + 8);
    assert_true(blx_conn_last_sent_ns(ends->a) <= blx_clock_ns());
}

static void *send_frame(void *arg)
{
    struct ends *ends = arg;
    uint8_t *bytes = malloc(BLX_FRAME_MAX_BYTES);
    for (size_t i = 0; i < BLX_FRAME_MAX_BYTES; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251);
    const struct blx_message frame = frame_of(bytes, BLX_FRAME_MAX_BYTES);
    int rc = blx_conn_send(ends->a, &frame, NULL);
    free(bytes);
    return rc == 0 ? arg : NULL;
}

static void conn_carries_the_largest_frame(void **state)
{
    struct ends *ends = *state;
    pthread_t thread;
    void *result = NULL;
    assert_int_equal(pthread_create(&thread, NULL, send_frame, ends), 0);
    struct blx_message got;
    assert_int_equal(blx_conn_recv(ends->b, 10000, &got, NULL), 0);
    assert_int_equal(got.type, BLX_MESSAGE_FRAME);
    assert_int_equal(got.frame.volume, 3);
    assert_int_equal(got.frame.frame_bytes, BLX_FRAME_MAX_BYTES);
    for (size_t i = 0; i < BLX_FRAME_MAX_BYTES; i++) {
        if (got.frame.bytes[i] != (uint8_t)(i * 7 + i / 251))
            fail_msg("byte %zu differs", i);
    }
    pthread_join(thread, &result);
    assert_non_null(result);
}

enum { SENDERS = 4, MESSAGES = 40, FRAME_BYTES = 100000 };

struct sender {
    struct blx_conn *conn;
    uint8_t mark;
};

static void *send_many(void *arg)
{
    struct sender *sender = arg;
    uint8_t *bytes = malloc(FRAME_BYTES);
    memset(bytes, sender->mark, FRAME_BYTES);
    const struct blx_message frame = frame_of(bytes, FRAME_BYTES);
    int rc = 0;
    for (int i = 0; i < MESSAGES && rc == 0; i++)
        rc = blx_conn_send(sender->conn, &frame, NULL);
    free(bytes);
    return rc == 0 ? arg : NULL;
}

static void conn_senders_never_interleave(void **state)
{
    struct ends *ends = *state;
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    for (size_t i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){ends->a, (uint8_t)(i + 1)};
        assert_int_equal(pthread_create(&threads[i], NULL, send_many, &senders[i]), 0);
    }
    unsigned counts[SENDERS + 1] = {0};
    for (size_t i = 0; i < SENDERS * MESSAGES; i++) {
        struct blx_message got;
        assert_int_equal(blx_conn_recv(ends->b, 10000, &got, NULL), 0);
        uint8_t mark = got.frame.bytes[0];
        assert_in_range(mark, 1, SENDERS);
        assert_int_equal(got.frame.bytes[FRAME_BYTES - 1], mark);
        assert_memory_equal(got.frame.bytes, got.frame.bytes + 1, FRAME_BYTES - 1);
        counts[mark]++;
    }
    for (size_t i = 0; i < SENDERS; i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        assert_non_null(result);
        assert_int_equal(counts[i + 1], MESSAGES);
    }
}

static void conn_recv_times_out_and_goes_on(void **state)
{
    struct ends *ends = *state;
    struct blx_message got;
    struct blx_error err = {0};
    assert_int_equal(blx_conn_recv(ends->b, 0, &got, &err), -ETIMEDOUT);
    uint64_t start = blx_clock_ns();
    assert_int_equal(blx_conn_recv(ends->b, 50, &got, NULL), -ETIMEDOUT);
    assert_true(blx_clock_ns() - start >= 50000000);
    assert_int_equal(blx_conn_send(ends->a, &ping, NULL), 0);
    assert_int_equal(blx_conn_recv(ends->b, 0, &got, NULL), 0);
}

/* The buffer that a frame needed is freed while the connection waits; ASan would see a later use.
 * */
static void conn_goes_on_after_its_buffer_was_given_back(void **state)
{
    struct ends *ends = *state;
    uint8_t bytes[100] = {5};
    const struct blx_message frame = frame_of(bytes, sizeof(bytes));
    struct blx_message got;
    assert_int_equal(blx_conn_send(ends->a, &frame, NULL), 0);
    assert_int_equal(blx_conn_recv(ends->b, 10000, &got, NULL), 0);
    assert_int_equal(blx_conn_recv(ends->b, 1200, &got, NULL), -ETIMEDOUT);
    assert_int_equal(blx_conn_send(ends->a, &frame, NULL), 0);
    assert_int_equal(blx_conn_recv(ends->b, 10000, &got, NULL), 0);
    assert_int_equal(got.frame.bytes[0], 5);
}

static void *recv_once(void *arg)
{
    struct ends *ends = arg;
    struct blx_message got;
    return (void *)(intptr_t)blx_conn_recv(ends->a, UINT64_MAX, &got, NULL);
}

static void conn_shutdown_wakes_who_receives(void **state)
{
    struct ends *ends = *state;
    pthread_t thread;
    void *result = NULL;
    assert_int_equal(pthread_create(&thread, NULL, recv_once, ends), 0);
    blx_conn_shutdown(ends->a);
    pthread_join(thread, &result);
    assert_int_equal((intptr_t)result, -EPIPE);
    struct blx_message got;
    assert_int_equal(blx_conn_recv(ends->b, 10000, &got, NULL), -EPIPE);
    assert_int_equal(blx_conn_send(ends->a, &ping, NULL), -EPIPE);
}

static void *send_until_error(void *arg)
{
    struct ends *ends = arg;
    static const uint8_t bytes[FRAME_BYTES];
    const struct blx_message frame = frame_of(bytes, sizeof(bytes));
    int rc = 0;
    while (rc == 0)
        rc = blx_conn_send(ends->a, &frame, NULL);
    return (void *)(intptr_t)rc;
}

static void conn_shutdown_wakes_who_sends(void **state)
{
    struct ends *ends = *state;
    pthread_t threads[2];
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, send_until_error, ends), 0);
    /* Until the socket is full. A message that is half out counts too. */
    for (uint64_t before = 1; before != blx_conn_sent_bytes(ends->a);) {
        before = blx_conn_sent_bytes(ends->a);
        sched_yield();
    }
    blx_conn_shutdown(ends->a);
    for (size_t i = 0; i < 2; i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        assert_int_equal((intptr_t)result, -EPIPE);
    }
}

static void conn_send_gives_up_where_nobody_reads(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    struct ends ends = {.raw = fds[1]};
    assert_int_equal(blx_conn_new(fds[0], NULL, 100, &ends.a, NULL), 0);
    assert_int_equal((intptr_t)send_until_error(&ends), -ETIMEDOUT);
    /* A message may be half out, so no other may follow. */
    struct blx_error err = {0};
    assert_int_equal(blx_conn_send(ends.a, &ping, &err), -EPIPE);
    assert_non_null(strstr(err.message, "PING"));
    blx_conn_free(ends.a);
    close(fds[1]);
}

static void conn_send_refuses_a_message_that_is_not_valid(void **state)
{
    struct ends *ends = *state;
    struct blx_message ack = {.type = BLX_MESSAGE_ACK, .ack = {.volume = 64}};
    struct blx_error err = {0};
    assert_int_equal(blx_conn_send(ends->a, &ack, &err), -EINVAL);
    assert_non_null(strstr(err.message, "ACK"));
    assert_int_equal(blx_conn_send(ends->a, &ping, NULL), 0);
}

/* The default action of SIGPIPE would end this program. */
static void conn_of_a_closed_peer_gives_epipe(void **state)
{
    struct ends *ends = *state;
    assert_true(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    blx_conn_free(ends->b);
    ends->b = NULL;
    struct blx_message got;
    assert_int_equal(blx_conn_recv(ends->a, 10000, &got, NULL), -EPIPE);
    assert_int_equal(blx_conn_send(ends->a, &ping, NULL), -EPIPE);
}

static void raw_send(const struct ends *ends, const void *bytes, size_t length)
{
    assert_int_equal(send(ends->raw, bytes, length, MSG_NOSIGNAL), (ssize_t)length);
}

static void conn_of_garbage_gives_ebadmsg_and_is_dead(void **state)
{
    struct ends *ends = *state;
    raw_send(ends, "GET / HTTP/1.1\r\n\r\n", 18);
    struct blx_message got;
    struct blx_error err = {0};
    assert_int_equal(blx_conn_recv(ends->a, 10000, &got, &err), -EBADMSG);
    assert_true(strlen(err.message) > 0);
    assert_int_equal(blx_conn_recv(ends->a, 10000, &got, NULL), -EPIPE);
}

static void conn_of_a_bad_body_gives_ebadmsg(void **state)
{
    struct ends *ends = *state;
    uint8_t bytes[24] = {16, 0, 0, 0, BLX_MESSAGE_ACK, 0, 0, 0, 64};
    raw_send(ends, bytes, sizeof(bytes));
    struct blx_message got;
    struct blx_error err = {0};
    assert_int_equal(blx_conn_recv(ends->a, 10000, &got, &err), -EBADMSG);
    assert_non_null(strstr(err.message, "ACK"));
}

static void conn_of_a_message_in_pieces_waits_for_the_rest(void **state)
{
    struct ends *ends = *state;
    const uint8_t bytes[24] = {16, 0, 0, 0, BLX_MESSAGE_ACK, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, recv_once, ends), 0);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        raw_send(ends, bytes + i, 1);
        sched_yield();
    }
    void *result = NULL;
    pthread_join(thread, &result);
    assert_int_equal((intptr_t)result, 0);
}

static void conn_of_a_message_cut_short_gives_epipe(void **state)
{
    struct ends *ends = *state;
    const uint8_t bytes[10] = {16, 0, 0, 0, BLX_MESSAGE_ACK, 0, 0, 0, 1, 0};
    raw_send(ends, bytes, sizeof(bytes));
    assert_int_equal(shutdown(ends->raw, SHUT_WR), 0);
    struct blx_message got;
    assert_int_equal(blx_conn_recv(ends->a, 10000, &got, NULL), -EPIPE);
}

static void *linger_and_free(void *arg)
{
    struct ends *ends = arg;
    const struct blx_message bye = {.type = BLX_MESSAGE_ERROR, .error = {.text = "why"}};
    blx_conn_send(ends->a, &bye, NULL);
    blx_conn_linger(ends->a, 10000);
    return NULL;
}

static void conn_linger_ends_when_the_peer_closes(void **state)
{
    struct ends *ends = *state;
    for (int i = 0; i < 100; i++)
        assert_int_equal(blx_conn_send(ends->b, &ping, NULL), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, linger_and_free, ends), 0);
    struct blx_message got;
    assert_int_equal(blx_conn_recv(ends->b, 10000, &got, NULL), 0);
    assert_string_equal(got.error.text, "why");
    assert_int_equal(blx_conn_recv(ends->b, 10000, &got, NULL), -EPIPE);
    blx_conn_free(ends->b);
    ends->b = NULL;
    pthread_join(thread, NULL);
}

#define BOTH(name) cmocka_unit_test_setup_teardown(name, setup_both, teardown)
#define RAW(name)  cmocka_unit_test_setup_teardown(name, setup_raw, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(conn_carries_messages_both_ways),
        BOTH(conn_carries_the_largest_frame),
        BOTH(conn_senders_never_interleave),
        BOTH(conn_recv_times_out_and_goes_on),
        BOTH(conn_goes_on_after_its_buffer_was_given_back),
        BOTH(conn_shutdown_wakes_who_receives),
        RAW(conn_shutdown_wakes_who_sends),
        cmocka_unit_test(conn_send_gives_up_where_nobody_reads),
        BOTH(conn_send_refuses_a_message_that_is_not_valid),
        BOTH(conn_of_a_closed_peer_gives_epipe),
        RAW(conn_of_garbage_gives_ebadmsg_and_is_dead),
        RAW(conn_of_a_bad_body_gives_ebadmsg),
        RAW(conn_of_a_message_in_pieces_waits_for_the_rest),
        RAW(conn_of_a_message_cut_short_gives_epipe),
        BOTH(conn_linger_ends_when_the_peer_closes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
