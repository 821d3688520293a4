/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/units.h"
#include "base/watchdog.h"

enum { PERIOD_US = 40 * 1000 };

static int manager_fd = -1;

/* A service manager that wants a ping every PERIOD_US. */
static int setup(void **state)
{
    (void)state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char name[64], period[32], pid[32];
    int length = snprintf(name, sizeof(name), "@blx-watchdog-%d", (int)getpid());
    memcpy(address.sun_path + 1, name + 1, (size_t)length - 1);
    snprintf(period, sizeof(period), "%d", PERIOD_US);
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    setenv("NOTIFY_SOCKET", name, 1);
    setenv("WATCHDOG_USEC", period, 1);
    setenv("WATCHDOG_PID", pid, 1);
    manager_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return bind(manager_fd, (struct sockaddr *)&address,
                (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)length));
}

static int teardown(void **state)
{
    (void)state;
    return close(manager_fd);
}

static unsigned pings(void)
{
    char buffer[64];
    unsigned count = 0;
    ssize_t got;
    while ((got = recv(manager_fd, buffer, sizeof(buffer), 0)) > 0) {
        assert_int_equal(got, strlen("WATCHDOG=1"));
        assert_memory_equal(buffer, "WATCHDOG=1", strlen("WATCHDOG=1"));
        count++;
    }
    return count;
}

static void turn_for(struct blx_watchdog *watchdog, unsigned hands, uint64_t us)
{
    uint64_t end_ns = blx_clock_ns() + us * 1000;
    while (blx_clock_ns() < end_ns) {
        for (unsigned hand = 0; hand < hands; hand++)
            blx_watchdog_turn(watchdog, hand);
    }
}

static void watchdog_is_pinged_while_all_hands_turn(void **state)
{
    (void)state;
    struct blx_watchdog watchdog;
    blx_watchdog_init(&watchdog, 2);
    assert_int_equal(blx_watchdog_wait_ns(&watchdog), PERIOD_US * 1000 / 4);
    turn_for(&watchdog, 2, 3 * PERIOD_US);
    unsigned count = pings();
    /* At least the two that keep the service manager from killing us, and no flood. */
    assert_true(count >= 2);
    assert_true(count <= 12);
}

static void watchdog_is_silent_while_one_hand_rests(void **state)
{
    (void)state;
    struct blx_watchdog watchdog;
    blx_watchdog_init(&watchdog, 3);
    turn_for(&watchdog, 2, 2 * PERIOD_US);
    assert_int_equal(pings(), 0);
    blx_watchdog_turn(&watchdog, 2);
    assert_int_equal(pings(), 1);
    turn_for(&watchdog, 2, 2 * PERIOD_US);
    assert_int_equal(pings(), 0);
}

static void watchdog_that_nobody_asked_for_is_silent(void **state)
{
    (void)state;
    static const char *const periods[] = {
        NULL, "", "0", "-1", "many", "7s", "99999999999999999999"};
    for (size_t i = 0; i < sizeof(periods) / sizeof(*periods); i++) {
        struct blx_watchdog watchdog;
        unsetenv("WATCHDOG_USEC");
        if (periods[i] != NULL)
            setenv("WATCHDOG_USEC", periods[i], 1);
        blx_watchdog_init(&watchdog, 1);
        assert_true(blx_watchdog_wait_ns(&watchdog) == UINT64_MAX);
        blx_watchdog_turn(&watchdog, 0);
    }
    struct blx_watchdog zero = {0};
    blx_watchdog_turn(&zero, 0);
    assert_true(blx_watchdog_wait_ns(&zero) == UINT64_MAX);
    assert_int_equal(pings(), 0);
}

/* A child inherits the variables of the daemon that is watched. */
static void watchdog_of_another_process_is_not_pinged(void **state)
{
    (void)state;
    struct blx_watchdog watchdog;
    setenv("WATCHDOG_PID", "1", 1);
    blx_watchdog_init(&watchdog, 1);
    turn_for(&watchdog, 1, PERIOD_US);
    assert_int_equal(pings(), 0);
}

static void watchdog_does_not_wait_for_a_manager_that_does_not_read(void **state)
{
    (void)state;
    struct blx_watchdog watchdog;
    blx_watchdog_init(&watchdog, 1);
    watchdog.wait_ns = 1;
    /* More than any queue of datagrams holds. */
    for (unsigned i = 0; i < 5000; i++)
        blx_watchdog_turn(&watchdog, 0);
    assert_true(pings() > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(watchdog_is_pinged_while_all_hands_turn),
        TEST(watchdog_is_silent_while_one_hand_rests),
        TEST(watchdog_that_nobody_asked_for_is_silent),
        TEST(watchdog_of_another_process_is_not_pinged),
        TEST(watchdog_does_not_wait_for_a_manager_that_does_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
