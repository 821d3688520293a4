/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/send/effort_private.h"

#define SECOND UINT64_C(1000000000)

/* `seconds` of work on two processors, of which these parts are spent so. The level at the end. */
static int work(struct agent_effort *effort, double blocked, double starved, double packing,
                int seconds)
{
    int level = 0;
    for (int i = 0; i < 20 * seconds; i++) {
        struct agent_effort_times times = {
            .blocked_ns = (uint64_t)(blocked * (double)SECOND / 20),
            .starved_ns = (uint64_t)(starved * (double)SECOND / 20),
            .packing_ns = (uint64_t)(packing * (double)SECOND / 20),
            .frames = 1,
        };
        level = agent_effort_add(effort, &times);
    }
    return level;
}

static struct agent_effort fresh(void)
{
    struct agent_effort effort;
    agent_effort_init(&effort, 2);
    return effort;
}

static void it_begins_with_the_fixed_level(void **state)
{
    (void)state;
    struct agent_effort effort = fresh();
    assert_int_equal(agent_effort_add(&effort, &(struct agent_effort_times){0}), 1);
}

static void a_slow_network_raises_the_level(void **state)
{
    (void)state;
    struct agent_effort effort = fresh();
    assert_int_equal(work(&effort, 0.95, 0.05, 0.01, 1), 1); /* not at the first look */
    assert_int_equal(work(&effort, 0.95, 0.05, 0.01, 60), 9);
}

static void the_share_of_the_processors_bounds_it(void **state)
{
    (void)state;
    struct agent_effort effort = fresh();
    assert_int_equal(work(&effort, 0.95, 0.05, 0.35, 60), 3); /* the next one would take 0.84 */
    assert_int_equal(work(&effort, 0.95, 0.05, 0.8, 60), -5);
}

static void busy_processors_lower_it_and_it_stays(void **state)
{
    (void)state;
    struct agent_effort effort = fresh();
    assert_int_equal(work(&effort, 0.1, 0.9, 1.8, 60), -5);
}

static void a_slow_disk_leaves_it(void **state)
{
    (void)state;
    struct agent_effort effort = fresh();
    assert_int_equal(work(&effort, 0.05, 0.95, 0.2, 60), 1);
}

static void nothing_to_send_leaves_it(void **state)
{
    (void)state;
    struct agent_effort effort = fresh();
    work(&effort, 0.95, 0.05, 0.01, 60);
    assert_int_equal(work(&effort, 0, 0, 0, 600), 9);
}

static void after_a_step_down_it_rests(void **state)
{
    (void)state;
    struct agent_effort effort = fresh();
    assert_int_equal(work(&effort, 0.95, 0.05, 0.8, 1), -5);
    assert_int_equal(work(&effort, 0.95, 0.05, 0.01, 5), -5);
    assert_int_equal(work(&effort, 0.95, 0.05, 0.01, 60), 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_begins_with_the_fixed_level),
        cmocka_unit_test(a_slow_network_raises_the_level),
        cmocka_unit_test(the_share_of_the_processors_bounds_it),
        cmocka_unit_test(busy_processors_lower_it_and_it_stays),
        cmocka_unit_test(a_slow_disk_leaves_it),
        cmocka_unit_test(nothing_to_send_leaves_it),
        cmocka_unit_test(after_a_step_down_it_rests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
