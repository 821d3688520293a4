/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "dispatcher/rate.h"

static const uint64_t period_ns = DISPATCHER_RATE_PERIOD_MS * UINT64_C(1000000);

static void rate_lets_a_burst_through_and_holds_back_the_rest(void **state)
{
    (void)state;
    struct dispatcher_rate rate = DISPATCHER_RATE_INIT;
    unsigned held_back = 7;
    for (unsigned i = 0; i < DISPATCHER_RATE_BURST; i++) {
        assert_true(dispatcher_rate_allow(&rate, 2 * period_ns + i, &held_back));
        assert_int_equal(held_back, 0);
    }
    held_back = 7;
    assert_false(dispatcher_rate_allow(&rate, 2 * period_ns + 100, &held_back));
    assert_int_equal(held_back, 7);
}

static void rate_tells_how_many_were_held_back(void **state)
{
    (void)state;
    struct dispatcher_rate rate = DISPATCHER_RATE_INIT;
    unsigned held_back = 0;
    for (unsigned i = 0; i < DISPATCHER_RATE_BURST + 3; i++)
        dispatcher_rate_allow(&rate, 2 * period_ns, &held_back);
    assert_true(dispatcher_rate_allow(&rate, 3 * period_ns, &held_back));
    assert_int_equal(held_back, 3);
    assert_true(dispatcher_rate_allow(&rate, 3 * period_ns, &held_back));
    assert_int_equal(held_back, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rate_lets_a_burst_through_and_holds_back_the_rest),
        cmocka_unit_test(rate_tells_how_many_were_held_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
