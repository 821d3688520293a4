/* SPDX-License-Identifier: Apache-2.0 */
/* The instant of a cut: an honest agent's is exact, a liar's stays between request and arrival. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dispatcher/cut_time.h"

#define SECOND UINT64_C(1000000000)

static const struct dispatcher_cut_window window = {.asked_ns = 1000 * SECOND,
                                                    .arrived_ns = 1100 * SECOND};

static uint64_t cut_of(uint64_t realtime_ns, uint64_t age_ns)
{
    const struct blx_checkpoint_message cut = {.cut_realtime_ns = realtime_ns,
                                               .cut_age_ns = age_ns};
    return dispatcher_cut_time_ns(&window, &cut);
}

static int64_t offset_of(uint64_t realtime_ns, uint64_t age_ns)
{
    const struct blx_checkpoint_message cut = {.cut_realtime_ns = realtime_ns,
                                               .cut_age_ns = age_ns};
    return dispatcher_clock_offset_ms(&window, &cut);
}

static void a_cut_is_as_old_as_the_agent_says(void **state)
{
    (void)state;
    assert_int_equal(cut_of(1090 * SECOND, 10 * SECOND), 1090 * SECOND);
    assert_int_equal(cut_of(5, 10 * SECOND), 1090 * SECOND); /* whatever its clock shows */
    assert_int_equal(cut_of(UINT64_MAX, 0), 1100 * SECOND);
    assert_int_equal(cut_of(1050 * SECOND, 10 * SECOND), 1090 * SECOND);
}

/* The age is measured before the message is sent, so what it leads to lies too late. */
static void a_clock_that_shows_a_little_less_counts(void **state)
{
    (void)state;
    assert_int_equal(cut_of(1085 * SECOND, 10 * SECOND), 1085 * SECOND);
    assert_int_equal(cut_of(1060 * SECOND, 10 * SECOND), 1060 * SECOND);
    assert_int_equal(cut_of(1091 * SECOND, 10 * SECOND), 1090 * SECOND);
    assert_int_equal(cut_of(990 * SECOND, 95 * SECOND), 1005 * SECOND); /* not before the asking */
}

static void no_age_leads_out_of_the_window(void **state)
{
    (void)state;
    assert_int_equal(cut_of(1090 * SECOND, 101 * SECOND), 1000 * SECOND);
    assert_int_equal(cut_of(1090 * SECOND, UINT64_MAX - 1), 1000 * SECOND);
}

static void an_older_agents_clock_counts_inside_of_the_window_only(void **state)
{
    (void)state;
    assert_int_equal(cut_of(1050 * SECOND, BLX_CUT_AGE_UNKNOWN), 1050 * SECOND);
    assert_int_equal(cut_of(999 * SECOND, BLX_CUT_AGE_UNKNOWN), 1100 * SECOND);
    assert_int_equal(cut_of(32 * 1000000 * SECOND, BLX_CUT_AGE_UNKNOWN), 1100 * SECOND);
    assert_int_equal(cut_of(0, BLX_CUT_AGE_UNKNOWN), 1100 * SECOND);
}

static void a_clock_that_is_off_is_measured_and_noted(void **state)
{
    (void)state;
    char note[BLX_TEXT_BYTES] = "";
    assert_int_equal(offset_of(1090 * SECOND, 10 * SECOND), 0);
    assert_int_equal(offset_of(1690 * SECOND, 10 * SECOND), 600 * 1000);
    assert_int_equal(offset_of(490 * SECOND, 10 * SECOND), -600 * 1000);
    assert_int_equal(offset_of(1050 * SECOND, BLX_CUT_AGE_UNKNOWN), 0);
    assert_int_equal(offset_of(900 * SECOND, BLX_CUT_AGE_UNKNOWN), -100 * 1000);
    dispatcher_note_clock(120 * 1000, note);
    assert_string_equal(note, "");
    dispatcher_note_clock(600 * 1000, note);
    assert_string_equal(note, "the agent's clock is 10 m 0 s ahead");
    dispatcher_note_clock(-600 * 1000, note);
    assert_string_equal(note, "the agent's clock is 10 m 0 s ahead; the agent's clock is 10 m 0 s "
                              "behind");
    memset(note, 'x', BLX_TEXT_BYTES - 1);
    dispatcher_note_clock(-600 * 1000, note);
    assert_int_equal(strlen(note), BLX_TEXT_BYTES - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cut_is_as_old_as_the_agent_says),
        cmocka_unit_test(a_clock_that_shows_a_little_less_counts),
        cmocka_unit_test(no_age_leads_out_of_the_window),
        cmocka_unit_test(an_older_agents_clock_counts_inside_of_the_window_only),
        cmocka_unit_test(a_clock_that_is_off_is_measured_and_noted),
    };
    return cmocka_run_group_tests_name("dispatcher/cut_time", tests, NULL, NULL);
}
