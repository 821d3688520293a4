/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/track/sleep.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SECOND UINT64_C(1000000000)

static void machine_that_is_awake_is_no_doubt(void **state)
{
    struct agent_sleep sleep = {0};
    (void)state;
    agent_sleep_compare(&sleep, 5 * SECOND, 5 * SECOND, 1); /* it slept before this began */
    agent_sleep_compare(&sleep, 5 * SECOND, 7 * SECOND, 1); /* the look took two seconds */
    agent_sleep_compare(&sleep, 6 * SECOND, 6 * SECOND, 1);
    assert_int_equal(sleep.hibernations, 0);
    agent_sleep_look(&sleep);
    sleep = (struct agent_sleep){0};
    agent_sleep_look(&sleep);
    agent_sleep_look(&sleep);
    assert_int_equal(sleep.hibernations, 0);
}

static void suspend_is_no_doubt_if_it_is_counted(void **state)
{
    struct agent_sleep sleep = {0};
    (void)state;
    agent_sleep_compare(&sleep, 0, 0, 0);
    agent_sleep_compare(&sleep, 60 * SECOND, 60 * SECOND, 1);
    assert_int_equal(sleep.hibernations, 0);
    agent_sleep_compare(&sleep, 90 * SECOND, 90 * SECOND, UINT64_MAX);
    assert_int_equal(sleep.hibernations, 1);
}

static void hibernation_is_a_doubt(void **state)
{
    struct agent_sleep sleep = {0};
    (void)state;
    agent_sleep_compare(&sleep, 0, 0, 0);
    agent_sleep_compare(&sleep, 3 * SECOND, 3 * SECOND, 0);
    assert_int_equal(sleep.hibernations, 1);
    agent_sleep_compare(&sleep, 3 * SECOND, 3 * SECOND, 0);
    assert_int_equal(sleep.hibernations, 1);
    agent_sleep_compare(&sleep, 9 * SECOND, 9 * SECOND, 0);
    assert_int_equal(sleep.hibernations, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(machine_that_is_awake_is_no_doubt),
        cmocka_unit_test(suspend_is_no_doubt_if_it_is_counted),
        cmocka_unit_test(hibernation_is_a_doubt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
