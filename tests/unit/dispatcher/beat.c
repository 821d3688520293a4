/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "dispatcher/beat.h"

static const uint64_t second_ns = UINT64_C(1000000000);

static void beats_lie_one_period_apart(void **state)
{
    (void)state;
    uint64_t first = dispatcher_beat_next_ns("web1", 60 * second_ns, 1000 * second_ns);
    uint64_t second = dispatcher_beat_next_ns("web1", 60 * second_ns, first);
    assert_int_equal(second - first, 60 * second_ns);
    assert_true(first > 1000 * second_ns && first <= 1060 * second_ns);
}

static void beat_is_always_later_than_now(void **state)
{
    (void)state;
    for (uint64_t now = 0; now < 300; now++) {
        uint64_t next = dispatcher_beat_next_ns("db", 7, now);
        assert_true(next > now && next <= now + 7);
    }
}

static void beat_keeps_its_phase_over_reconnects(void **state)
{
    (void)state;
    uint64_t a = dispatcher_beat_next_ns("web1", 60 * second_ns, 3 * second_ns);
    uint64_t b = dispatcher_beat_next_ns("web1", 60 * second_ns, 100007 * second_ns);
    assert_int_equal((b - a) % (60 * second_ns), 0);
}

static void beat_works_with_the_shortest_and_the_longest_period(void **state)
{
    (void)state;
    assert_int_equal(dispatcher_beat_next_ns("web1", 1, 5), 6);
    uint64_t year = 366 * 24 * 3600 * second_ns;
    uint64_t next = dispatcher_beat_next_ns("web1", year, 5 * year + 17);
    assert_true(next > 5 * year + 17 && next <= 6 * year + 17);
}

static void beats_of_many_agents_are_spread_over_the_period(void **state)
{
    (void)state;
    enum { AGENTS = 200, PARTS = 10 };
    unsigned in_part[PARTS] = {0};
    for (unsigned i = 0; i < AGENTS; i++) {
        char id[16];
        snprintf(id, sizeof(id), "web%u", i);
        uint64_t next = dispatcher_beat_next_ns(id, PARTS * second_ns, 0);
        in_part[next % (PARTS * second_ns) / second_ns]++;
    }
    for (unsigned i = 0; i < PARTS; i++)
        assert_in_range(in_part[i], AGENTS / PARTS / 3, AGENTS / PARTS * 3);
}

static void agent_without_a_checkpoint_is_overdue(void **state)
{
    (void)state;
    assert_true(dispatcher_beat_is_overdue(0, 60 * second_ns, 5));
}

static void agent_is_overdue_when_its_checkpoint_is_older_than_the_period(void **state)
{
    (void)state;
    blx_timestamp last = 20261122203600;
    uint64_t last_ns = (uint64_t)blx_timestamp_to_unix(last) * second_ns;
    assert_false(dispatcher_beat_is_overdue(last, 60 * second_ns, last_ns + 59 * second_ns));
    assert_true(dispatcher_beat_is_overdue(last, 60 * second_ns, last_ns + 60 * second_ns));
}

static void checkpoint_in_the_future_is_not_overdue(void **state)
{
    (void)state;
    blx_timestamp last = 20261122203600;
    uint64_t last_ns = (uint64_t)blx_timestamp_to_unix(last) * second_ns;
    assert_false(dispatcher_beat_is_overdue(last, 60 * second_ns, last_ns - 3600 * second_ns));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(beats_lie_one_period_apart),
        cmocka_unit_test(beat_is_always_later_than_now),
        cmocka_unit_test(beat_keeps_its_phase_over_reconnects),
        cmocka_unit_test(beat_works_with_the_shortest_and_the_longest_period),
        cmocka_unit_test(beats_of_many_agents_are_spread_over_the_period),
        cmocka_unit_test(agent_without_a_checkpoint_is_overdue),
        cmocka_unit_test(agent_is_overdue_when_its_checkpoint_is_older_than_the_period),
        cmocka_unit_test(checkpoint_in_the_future_is_not_overdue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
