/* SPDX-License-Identifier: Apache-2.0 */
/* clock.c and cond.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <limits.h>

#include "base/clock.h"
#include "base/cond.h"

static void a_deadline_is_ahead_by_its_timeout(void **state)
{
    (void)state;
    uint64_t before_ns = blx_clock_ns();
    uint64_t deadline_ns = blx_deadline_in_ms(60000);
    assert_true(deadline_ns >= before_ns + 60 * BLX_NS_PER_S);
    assert_true(deadline_ns <= blx_clock_ns() + 60 * BLX_NS_PER_S);
    uint64_t left_ms = blx_deadline_left_ms(deadline_ns);
    assert_true(left_ms > 0 && left_ms <= 60000);
    assert_int_equal(blx_deadline_poll_ms(deadline_ns) > 0, 1);
}

static void a_deadline_that_has_passed_leaves_nothing(void **state)
{
    (void)state;
    uint64_t now_ns = blx_clock_ns();
    assert_int_equal(blx_deadline_left_ms(now_ns), 0);
    assert_int_equal(blx_deadline_left_ms(0), 0);
    assert_int_equal(blx_deadline_poll_ms(now_ns), 0);
    assert_true(blx_deadline_in_ms(0) <= blx_clock_ns());
}

static void for_ever_stays_for_ever(void **state)
{
    (void)state;
    assert_true(blx_deadline_in_ms(BLX_FOR_EVER) == BLX_FOR_EVER);
    assert_true(blx_deadline_in_ms(BLX_FOR_EVER / BLX_NS_PER_MS) == BLX_FOR_EVER);
    assert_true(blx_deadline_left_ms(BLX_FOR_EVER) == BLX_FOR_EVER);
    assert_int_equal(blx_deadline_poll_ms(BLX_FOR_EVER), -1);
}

static void poll_gets_at_most_what_an_int_holds(void **state)
{
    (void)state;
    assert_int_equal(blx_deadline_poll_ms(blx_deadline_in_ms(UINT64_C(4) * INT_MAX)), INT_MAX);
    assert_int_equal(blx_deadline_poll_ms(BLX_FOR_EVER - 1), INT_MAX);
}

static void nanoseconds_are_rounded_up_on_request(void **state)
{
    (void)state;
    assert_int_equal(blx_ns_to_ms_up(0), 0);
    assert_int_equal(blx_ns_to_ms_up(1), 1);
    assert_int_equal(blx_ns_to_ms_up(BLX_NS_PER_MS), 1);
    assert_int_equal(blx_ns_to_ms_up(BLX_NS_PER_MS + 1), 2);
    assert_true(blx_ns_to_ms_up(UINT64_MAX) == UINT64_MAX / BLX_NS_PER_MS + 1);
    assert_true(blx_ns_to_seconds(1500 * BLX_NS_PER_MS) == 1.5);
}

static void a_timespec_survives_the_way_there_and_back(void **state)
{
    (void)state;
    uint64_t ns = 3 * BLX_NS_PER_S + 999999999;
    struct timespec time = blx_ns_to_timespec(ns);
    assert_int_equal(time.tv_sec, 3);
    assert_int_equal(time.tv_nsec, 999999999);
    assert_int_equal(blx_ns_from_timespec(&time), ns);
}

static void a_condition_is_waited_for_until_the_deadline_and_no_longer(void **state)
{
    (void)state;
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t cond;
    assert_int_equal(blx_cond_init(&cond), 0);
    pthread_mutex_lock(&lock);
    uint64_t deadline_ns = blx_deadline_in_ms(20);
    int rc = 0;
    while (rc == 0)
        rc = blx_cond_wait_until(&cond, &lock, deadline_ns);
    assert_int_equal(rc, -ETIMEDOUT);
    assert_true(blx_clock_ns() >= deadline_ns);
    pthread_mutex_unlock(&lock);
    pthread_cond_destroy(&cond);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deadline_is_ahead_by_its_timeout),
        cmocka_unit_test(a_deadline_that_has_passed_leaves_nothing),
        cmocka_unit_test(for_ever_stays_for_ever),
        cmocka_unit_test(poll_gets_at_most_what_an_int_holds),
        cmocka_unit_test(nanoseconds_are_rounded_up_on_request),
        cmocka_unit_test(a_timespec_survives_the_way_there_and_back),
        cmocka_unit_test(a_condition_is_waited_for_until_the_deadline_and_no_longer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
