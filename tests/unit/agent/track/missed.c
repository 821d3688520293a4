/* SPDX-License-Identifier: Apache-2.0 */
/* When runs that were left out are a doubt. */
#include "agent/track/missed_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { TRACEPOINT = BLX_TRACEPOINT_RQ_COMPLETE };

static uint64_t look(struct blx_tracker_state *state, uint64_t saturated_before, uint64_t left_out,
                     uint64_t saturated_after)
{
    struct agent_missed_look counters = {saturated_before, left_out, saturated_after};
    return agent_missed_compare(state, TRACEPOINT, &counters);
}

static void runs_left_out_without_saturation_are_no_doubt(void **ctx)
{
    (void)ctx;
    struct blx_tracker_state state = {0};
    for (uint64_t i = 1; i < 100; i++)
        assert_int_equal(look(&state, 0, i * 1000, 0), 0);
    assert_int_equal(state.missed, 0);
}

/* Once saturated is not doubtful for ever: a busy machine would compare its disk at each look. */
static void a_saturation_is_a_doubt_once(void **ctx)
{
    (void)ctx;
    struct blx_tracker_state state = {0};
    look(&state, 0, 500, 0);
    assert_int_equal(look(&state, 2, 501, 2), 1);
    for (uint64_t i = 1; i < 100; i++)
        assert_int_equal(look(&state, 2, 501 + i * 1000, 2), 0);
    assert_int_equal(state.missed, 1);
    assert_int_equal(look(&state, 4, 200000, 4), 200000 - 501 - 99 * 1000);
}

static void a_saturation_in_which_nothing_was_left_out_is_no_doubt(void **ctx)
{
    (void)ctx;
    struct blx_tracker_state state = {0};
    look(&state, 0, 500, 0);
    assert_int_equal(look(&state, 2, 500, 2), 0);
}

/* Whenever in relation to the reading of the counters the event is missed, one look tells it. */
static void a_missed_event_is_found_however_the_looks_fall(void **ctx)
{
    (void)ctx;
    /* In order: saturated, an event missed, saturated no more. */
    static const uint64_t saturated_at[] = {0, 1, 1, 2}, left_out_at[] = {7, 7, 8, 8};
    for (int before = 0; before < 4; before++) {
        for (int middle = before; middle < 4; middle++) {
            for (int after = middle; after < 4; after++) {
                struct blx_tracker_state state = {0};
                look(&state, 0, 7, 0);
                look(&state, saturated_at[before], left_out_at[middle], saturated_at[after]);
                look(&state, 2, 8, 2);
                look(&state, 2, 8, 2);
                assert_int_equal(state.missed, 1);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_left_out_without_saturation_are_no_doubt),
        cmocka_unit_test(a_saturation_is_a_doubt_once),
        cmocka_unit_test(a_saturation_in_which_nothing_was_left_out_is_no_doubt),
        cmocka_unit_test(a_missed_event_is_found_however_the_looks_fall),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
