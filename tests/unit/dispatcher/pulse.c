/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/socket.h>

#include "dispatcher/pulse.h"

enum { RECV_MS = 20 * 1000, NEVER_MS = 3600 * 1000 };

struct pair {
    struct blx_conn *here, *there;
};

static int setup(void **state)
{
    static struct pair pair;
    int fds[2];
    *state = &pair;
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 ||
           blx_conn_new(fds[0], NULL, RECV_MS, &pair.here, NULL) < 0 ||
           blx_conn_new(fds[1], NULL, RECV_MS, &pair.there, NULL) < 0;
}

static int teardown(void **state)
{
    struct pair *pair = *state;
    blx_conn_free(pair->here);
    blx_conn_free(pair->there);
    return 0;
}

static void pulse_sends_pings_until_it_is_stopped(void **state)
{
    struct pair *pair = *state;
    struct dispatcher_pulse pulse;
    struct blx_message message = {0};
    dispatcher_pulse_start(&pulse, pair->here, 5);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(blx_conn_recv(pair->there, RECV_MS, &message, NULL), 0);
        assert_int_equal(message.type, BLX_MESSAGE_PING);
    }
    dispatcher_pulse_stop(&pulse);
    int rc = 0;
    while (rc == 0)
        rc = blx_conn_recv(pair->there, 0, &message, NULL);
    assert_int_equal(rc, -ETIMEDOUT);
    assert_int_equal(blx_conn_recv(pair->there, 30, &message, NULL), -ETIMEDOUT);
}

static void pulse_of_a_short_call_sends_nothing(void **state)
{
    struct pair *pair = *state;
    struct dispatcher_pulse pulse;
    struct blx_message message;
    dispatcher_pulse_start(&pulse, pair->here, NEVER_MS);
    dispatcher_pulse_stop(&pulse);
    assert_int_equal(blx_conn_recv(pair->there, 0, &message, NULL), -ETIMEDOUT);
}

static void pulse_on_a_lost_connection_ends_quietly(void **state)
{
    struct pair *pair = *state;
    struct dispatcher_pulse pulse;
    blx_conn_shutdown(pair->here);
    dispatcher_pulse_start(&pulse, pair->here, 1);
    dispatcher_pulse_stop(&pulse);
    dispatcher_pulse_stop(&pulse); /* a second stop finds nothing to do */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pulse_sends_pings_until_it_is_stopped, setup, teardown),
        cmocka_unit_test_setup_teardown(pulse_of_a_short_call_sends_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(pulse_on_a_lost_connection_ends_quietly, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
