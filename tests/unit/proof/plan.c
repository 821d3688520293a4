/* SPDX-License-Identifier: Apache-2.0 */
/* Nights of a hundred agents, by a clock that is only counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proof/plan.h"

enum { AGENTS = 100, MINUTE = 60, HOUR = 3600, DAY = 24 * HOUR, DAY_MS = DAY * 1000 };

static const time_t noon = 1767268800; /* 2026-01-01 12:00 UTC */

static struct proof_plan_agent agents[AGENTS];
static unsigned tested[AGENTS];

/* A test of each that runs; 0: it does not. */
static time_t ends[AGENTS];

static void prepare(const char *hours, uint64_t every_ms)
{
    memset(agents, 0, sizeof(agents));
    memset(tested, 0, sizeof(tested));
    memset(ends, 0, sizeof(ends));
    for (size_t i = 0; i < AGENTS; i++) {
        snprintf(agents[i].agent_id, sizeof(agents[i].agent_id), "agent%02zu", i);
        agents[i].test = (struct blx_policy_test){
            .every_ms = every_ms, .within_ms = 5 * MINUTE * 1000, .level = 2};
        if (hours != NULL)
            assert_int_equal(blx_hours_parse(hours, &agents[i].test.hours), 0);
        agents[i].untested = 20260101110000 + i;
    }
}

/* From 20:00 to 06:00 it is looked every five minutes. */
static bool is_night(time_t now)
{
    return now % DAY < 6 * HOUR || now % DAY >= 20 * HOUR;
}

/* Each agent has a checkpoint an hour. A test takes `test_s`, and `jobs` run at once. */
static void run_until(time_t *now, time_t until, unsigned jobs, time_t test_s)
{
    for (; *now < until; *now += is_night(*now) ? 5 * MINUTE : HOUR) {
        unsigned running = 0;
        for (size_t i = 0; i < AGENTS; i++) {
            if (agents[i].running && ends[i] <= *now) {
                agents[i].running = false;
                agents[i].untested = 0;
            }
            if (*now % HOUR == 0)
                agents[i].untested = (blx_timestamp)*now;
            running += agents[i].running;
        }
        struct proof_plan_agent *next;
        while (running < jobs && (next = proof_plan_choose(agents, AGENTS, *now)) != NULL) {
            size_t at = (size_t)(next - agents);
            time_t begin, end;
            assert_true(blx_hours_find(&next->test.hours, *now, &begin, &end));
            next->running = true;
            next->begun = *now; /* as the record will say */
            ends[at] = *now + test_s;
            tested[at]++;
            running++;
        }
    }
}

static void expect_each_tested(unsigned least, unsigned most)
{
    for (size_t i = 0; i < AGENTS; i++)
        if (tested[i] < least || tested[i] > most)
            fail_msg("%s was tested %u times, and not %u to %u", agents[i].agent_id, tested[i],
                     least, most);
}

static void a_night_has_room_for_a_hundred_agents(void **state)
{
    (void)state;
    time_t now = noon;
    prepare("02:00-05:00", DAY_MS);
    for (unsigned night = 1; night <= 5; night++) {
        run_until(&now, noon + (time_t)night * DAY, 4, 5 * MINUTE);
        expect_each_tested(night, night);
    }
}

/* In the second week the clock is set forward. */
static void hours_over_midnight_count_as_one_night(void **state)
{
    (void)state;
    time_t now = noon;
    setenv("TZ", "CET-1CEST,M1.2.4,M10.5.0/3", 1);
    tzset();
    prepare("22:00-02:00", DAY_MS);
    for (unsigned night = 1; night <= 9; night++) {
        run_until(&now, noon + (time_t)night * DAY, 3, 5 * MINUTE);
        expect_each_tested(night, night);
    }
    setenv("TZ", "UTC0", 1);
    tzset();
}

/* 36 tests of ten minutes in a night of three hours, by two at once. */
static void a_night_too_short_goes_on_with_the_others(void **state)
{
    (void)state;
    time_t now = noon;
    prepare("02:00-05:00", DAY_MS);
    run_until(&now, noon + DAY, 2, 10 * MINUTE);
    expect_each_tested(0, 1);
    run_until(&now, noon + 3 * DAY, 2, 10 * MINUTE);
    expect_each_tested(1, 2);
    run_until(&now, noon + 11 * DAY, 2, 10 * MINUTE);
    expect_each_tested(3, 4);
}

static void a_week_is_seven_nights(void **state)
{
    (void)state;
    time_t now = noon;
    prepare("02:00-05:00", UINT64_C(7) * DAY_MS);
    run_until(&now, noon + 14 * DAY, 4, 5 * MINUTE);
    expect_each_tested(2, 2);
}

static void without_hours_the_time_since_the_last_test_counts(void **state)
{
    (void)state;
    time_t now = noon;
    prepare(NULL, UINT64_C(6) * HOUR * 1000);
    run_until(&now, noon + 2 * DAY, AGENTS, 5 * MINUTE);
    expect_each_tested(8, 8);
}

static void the_newest_checkpoint_goes_first_among_those_never_tested(void **state)
{
    (void)state;
    prepare(NULL, DAY_MS);
    struct proof_plan_agent *next = proof_plan_choose(agents, AGENTS, noon);
    assert_ptr_equal(next, &agents[AGENTS - 1]);
    next->begun = noon - 2 * DAY;
    assert_ptr_equal(proof_plan_choose(agents, AGENTS, noon), &agents[AGENTS - 2]);
    assert_ptr_equal(proof_plan_choose(next, 1, noon), next);
    next->begun = noon - DAY + 1;
    assert_null(proof_plan_choose(next, 1, noon));
}

static void nobody_is_chosen_without_a_reason(void **state)
{
    (void)state;
    prepare(NULL, DAY_MS);
    agents[0].untested = 0;
    assert_null(proof_plan_choose(agents, 1, noon));
    agents[1].running = true;
    assert_null(proof_plan_choose(agents + 1, 1, noon));
    agents[2].not_before = noon + 1;
    assert_null(proof_plan_choose(agents + 2, 1, noon));
    assert_ptr_equal(proof_plan_choose(agents + 2, 1, noon + 1), &agents[2]);
    agents[3].test.every_ms = 0;
    assert_null(proof_plan_choose(agents + 3, 1, noon));
}

static void no_test_outlives_its_hours_by_more_than_a_boot(void **state)
{
    (void)state;
    prepare("11:00-13:00", DAY_MS);
    assert_int_equal(proof_plan_end(&agents[0].test, noon), noon + HOUR + 5 * MINUTE);
    prepare("11:00-20:00", DAY_MS);
    assert_int_equal(proof_plan_end(&agents[0].test, noon), noon + HOUR + 10 * MINUTE);
    prepare(NULL, DAY_MS);
    assert_int_equal(proof_plan_end(&agents[0].test, noon), noon + HOUR + 10 * MINUTE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_night_has_room_for_a_hundred_agents),
        cmocka_unit_test(hours_over_midnight_count_as_one_night),
        cmocka_unit_test(a_night_too_short_goes_on_with_the_others),
        cmocka_unit_test(a_week_is_seven_nights),
        cmocka_unit_test(without_hours_the_time_since_the_last_test_counts),
        cmocka_unit_test(the_newest_checkpoint_goes_first_among_those_never_tested),
        cmocka_unit_test(nobody_is_chosen_without_a_reason),
        cmocka_unit_test(no_test_outlives_its_hours_by_more_than_a_boot),
    };
    setenv("TZ", "UTC0", 1);
    tzset();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
