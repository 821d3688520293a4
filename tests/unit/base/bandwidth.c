/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bandwidth.h"

enum { SUN, MON, TUE, WED, THU, FRI, SAT };

static struct blx_bandwidth parsed(const char *text)
{
    struct blx_bandwidth limit;
    struct blx_error error = {0};
    if (blx_bandwidth_parse(text, &limit, &error) != 0)
        fail_msg("%s: %s", text, error.message);
    return limit;
}

static uint64_t at(const struct blx_bandwidth *limit, int day, int hour, int minute)
{
    return blx_bandwidth_at(limit, &(struct tm){.tm_wday = day, .tm_hour = hour, .tm_min = minute},
                            NULL);
}

static void a_rate_alone_holds_always(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t rate;
    } cases[] = {{"10M", 10 << 20}, {"1.5M", 3 << 19}, {"1024", 1024}, {"64KiB", 65536},
                 {"none", 0},       {"0", 0},          {" 2K ", 2048}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct blx_bandwidth limit = parsed(cases[i].text);
        for (int day = SUN; day <= SAT; day++) {
            assert_int_equal(at(&limit, day, 0, 0), cases[i].rate);
            assert_int_equal(at(&limit, day, 23, 59), cases[i].rate);
        }
    }
}

static void no_rule_is_no_limit(void **state)
{
    (void)state;
    struct blx_bandwidth limit = {0};
    unsigned minutes = 7;
    assert_int_equal(blx_bandwidth_at(&limit, &(struct tm){0}, &minutes), 0);
    assert_int_equal(minutes, 0);
    limit = parsed("mon 08:00-09:00 1M");
    assert_int_equal(at(&limit, MON, 8, 30), 1 << 20);
    assert_int_equal(at(&limit, MON, 9, 0), 0);
}

static void the_first_rule_that_matches_counts(void **state)
{
    (void)state;
    struct blx_bandwidth limit = parsed("mon-fri 08:00-18:00 2M, 07:00-19:00 5M,sat-sun none, 20M");
    assert_int_equal(at(&limit, MON, 8, 0), 2 << 20);
    assert_int_equal(at(&limit, FRI, 17, 59), 2 << 20);
    assert_int_equal(at(&limit, FRI, 18, 0), 5 << 20);
    assert_int_equal(at(&limit, SAT, 12, 0), 5 << 20);
    assert_int_equal(at(&limit, SAT, 19, 0), 0);
    assert_int_equal(at(&limit, SUN, 6, 59), 0);
    assert_int_equal(at(&limit, WED, 6, 59), 20 << 20);
}

static void a_window_over_midnight_belongs_to_its_first_day(void **state)
{
    (void)state;
    struct blx_bandwidth limit = parsed("fri 22:00-06:00 1M, sat 20:00-24:00 2M, 3M");
    assert_int_equal(at(&limit, FRI, 5, 0), 3 << 20);
    assert_int_equal(at(&limit, FRI, 22, 0), 1 << 20);
    assert_int_equal(at(&limit, SAT, 5, 59), 1 << 20);
    assert_int_equal(at(&limit, SAT, 6, 0), 3 << 20);
    assert_int_equal(at(&limit, SAT, 22, 0), 2 << 20);
    assert_int_equal(at(&limit, SUN, 0, 0), 3 << 20);
    limit = parsed("sat 23:00-01:00 1M, 3M"); /* the week ends within it */
    assert_int_equal(at(&limit, SUN, 0, 59), 1 << 20);
}

static void days_go_round_the_week(void **state)
{
    (void)state;
    struct blx_bandwidth limit = parsed("sat-mon 1M, 2M");
    for (int day = SUN; day <= SAT; day++)
        assert_int_equal(at(&limit, day, 12, 0), (day >= TUE && day <= FRI ? 2 : 1) << 20);
}

static void the_next_change_is_told(void **state)
{
    (void)state;
    struct blx_bandwidth limit = parsed("mon-fri 08:00-18:00 2M, 20M");
    static const struct {
        int day, hour, minute;
        unsigned minutes;
    } cases[] = {{MON, 7, 59, 1},   {MON, 8, 0, 600},      {MON, 17, 59, 1},
                 {MON, 18, 0, 840}, {FRI, 18, 0, 62 * 60}, {SUN, 8, 0, 24 * 60}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tm when = {
            .tm_wday = cases[i].day, .tm_hour = cases[i].hour, .tm_min = cases[i].minute};
        unsigned minutes;
        blx_bandwidth_at(&limit, &when, &minutes);
        assert_int_equal(minutes, cases[i].minutes);
    }
    unsigned minutes = 7; /* another rule, the same rate: no change */
    limit = parsed("08:00-18:00 2M, 2M");
    blx_bandwidth_at(&limit, &(struct tm){0}, &minutes);
    assert_int_equal(minutes, 0);
}

static void what_is_no_limit_is_refused_with_what_it_is(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "empty"},
        {"10M,", "empty"},
        {"fast", "'fast'"},
        {"-1M", "'-1M'"},
        {"100", "at least 1K"},
        {"1M 2M", "'1M'"},
        {"mon-fry 1M", "'mon-fry'"},
        {"mon- 1M", "'mon-'"},
        {"08:00-08:00 1M", "'08:00-08:00'"},
        {"08:00-25:00 1M", "'08:00-25:00'"},
        {"24:00-08:00 1M", "'24:00-08:00'"},
        {"8:00-9:00 1M", "'8:00-9:00'"},
        {"08:60-09:00 1M", "'08:60-09:00'"},
        {"08:00-00:00 1M", "'08:00-00:00'"},
        {"08:00-18:00 mon 1M", "'mon'"},
        {"mon 08:00-18:00", "'08:00-18:00'"},
        {"mon 08:00-18:00 1M 2M", "'1M'"},
        {"mon 08:00-18:00 00:00-01:00 1M 2M", "'00:00-01:00'"},
        {"1K,1K,1K,1K,1K,1K,1K,1K,1K,1K,1K,1K,1K,1K,1K,1K,1K", "16 rules"},
        {"1M                                                                       ",
         "is not a rule"},
    };
    struct blx_bandwidth limit = {.rule_count = 7};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct blx_error error = {0};
        assert_int_equal(blx_bandwidth_parse(cases[i].text, &limit, &error), -EINVAL);
        if (strstr(error.message, cases[i].why) == NULL)
            fail_msg("'%s': %s", cases[i].text, error.message);
        assert_int_equal(limit.rule_count, 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rate_alone_holds_always),
        cmocka_unit_test(no_rule_is_no_limit),
        cmocka_unit_test(the_first_rule_that_matches_counts),
        cmocka_unit_test(a_window_over_midnight_belongs_to_its_first_day),
        cmocka_unit_test(days_go_round_the_week),
        cmocka_unit_test(the_next_change_is_told),
        cmocka_unit_test(what_is_no_limit_is_refused_with_what_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
