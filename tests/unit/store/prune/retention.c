/* SPDX-License-Identifier: Apache-2.0 */
/* The rules alone: which of some timestamps they keep. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "store/prune/retention.h"

enum { MANY = 5000 };

static struct blx_retention keep(enum blx_retention_rule rule, uint64_t count)
{
    struct blx_retention retention = {0};
    retention.keep[rule] = count;
    return retention;
}

/* Whole checkpoints, long ago. */
static void judge(const struct blx_retention *retention, const blx_timestamp *timestamps,
                  size_t count, uint32_t *verdicts)
{
    static struct blx_retention_item items[MANY];
    assert_true(count <= MANY);
    for (size_t i = 0; i < count; i++)
        items[i] = (struct blx_retention_item){.time = timestamps[i]};
    blx_retention_judge(retention, items, count, UINT64_C(4102444800000000000), verdicts);
}

/* `wanted` has a bit of the rule for each of the timestamps. */
static void expect(const struct blx_retention *retention, const blx_timestamp *timestamps,
                   const uint32_t *wanted, size_t count)
{
    uint32_t verdicts[32];
    judge(retention, timestamps, count, verdicts);
    for (size_t i = 0; i < count; i++)
        if (verdicts[i] != wanted[i])
            fail_msg("%llu: %x instead of %x", (unsigned long long)timestamps[i], verdicts[i],
                     wanted[i]);
}

#define EXPECT(rule, number, timestamps, ...)                                                      \
    do {                                                                                           \
        const bool kept_[] = {__VA_ARGS__};                                                        \
        uint32_t wanted_[sizeof(kept_)];                                                           \
        struct blx_retention retention_ = keep(rule, number);                                      \
        assert_int_equal(sizeof(kept_), sizeof(timestamps) / sizeof((timestamps)[0]));             \
        for (size_t i_ = 0; i_ < sizeof(kept_); i_++)                                              \
            wanted_[i_] = kept_[i_] ? blx_retention_bit(rule) : 0;                                 \
        expect(&retention_, timestamps, wanted_, sizeof(kept_));                                   \
    } while (0)

static void last_keeps_the_newest_ones(void **state)
{
    (void)state;
    const blx_timestamp timestamps[] = {20260101000000, 20260101000001, 20260101000002,
                                        20260303000000};
    EXPECT(BLX_KEEP_LAST, 2, timestamps, false, false, true, true);
    EXPECT(BLX_KEEP_LAST, 4, timestamps, true, true, true, true);
    EXPECT(BLX_KEEP_LAST, UINT64_MAX, timestamps, true, true, true, true);
    EXPECT(BLX_KEEP_LAST, 0, timestamps, false, false, false, false);
}

static void hourly_keeps_the_newest_of_each_hour(void **state)
{
    (void)state;
    const blx_timestamp timestamps[] = {20260101095959, 20260101100000, 20260101105959,
                                        20260101110000, 20260102110000, 20260102110001};
    EXPECT(BLX_KEEP_HOURLY, 1, timestamps, false, false, false, false, false, true);
    EXPECT(BLX_KEEP_HOURLY, 3, timestamps, false, false, true, true, false, true);
    EXPECT(BLX_KEEP_HOURLY, 9, timestamps, true, false, true, true, false, true);
}

/* Days without a checkpoint do not count. */
static void daily_counts_the_days_that_have_one(void **state)
{
    (void)state;
    const blx_timestamp timestamps[] = {20240228120000, 20240229000000, 20240229235959,
                                        20240301000000, 20260101000000};
    EXPECT(BLX_KEEP_DAILY, 3, timestamps, false, false, true, true, true);
    EXPECT(BLX_KEEP_DAILY, 4, timestamps, true, false, true, true, true);
}

/* 2024-12-30 (a Monday) to 2025-01-05 is week 1 of 2025; 2026 has 53 weeks. */
static void weeks_are_those_of_iso(void **state)
{
    (void)state;
    const blx_timestamp timestamps[] = {20241229235959, 20241230000000, 20250101000000,
                                        20250105235959, 20250106000000, 20261228000000,
                                        20270103235959, 20270104000000};
    EXPECT(BLX_KEEP_WEEKLY, 9, timestamps, true, false, false, true, true, false, true, true);
    EXPECT(BLX_KEEP_WEEKLY, 3, timestamps, false, false, false, false, true, false, true, true);
}

static void months_and_years_are_those_of_the_calendar(void **state)
{
    (void)state;
    const blx_timestamp timestamps[] = {20241130235959, 20241201000000, 20241231235959,
                                        20250101000000, 20250131000000, 20261231235959};
    EXPECT(BLX_KEEP_MONTHLY, 9, timestamps, true, false, true, false, true, true);
    EXPECT(BLX_KEEP_MONTHLY, 2, timestamps, false, false, false, false, true, true);
    EXPECT(BLX_KEEP_YEARLY, 9, timestamps, false, false, true, false, true, true);
    EXPECT(BLX_KEEP_YEARLY, 1, timestamps, false, false, false, false, false, true);
}

static void what_any_rule_keeps_stays(void **state)
{
    (void)state;
    const blx_timestamp timestamps[] = {20250101120000, 20250601000000, 20260301000000,
                                        20260301010000, 20260302000000, 20260302000100};
    struct blx_retention retention = {.keep = {[BLX_KEEP_LAST] = 2, [BLX_KEEP_YEARLY] = 2}};
    uint32_t last = blx_retention_bit(BLX_KEEP_LAST), yearly = blx_retention_bit(BLX_KEEP_YEARLY);
    const uint32_t both[] = {0, yearly, 0, 0, last, last | yearly};
    expect(&retention, timestamps, both, 6);
    retention.keep[BLX_KEEP_DAILY] = 2;
    uint32_t daily = blx_retention_bit(BLX_KEEP_DAILY);
    const uint32_t three[] = {0, yearly, 0, daily, last, last | yearly | daily};
    expect(&retention, timestamps, three, 6);
}

static void nothing_is_judged_where_there_is_nothing(void **state)
{
    (void)state;
    struct blx_retention retention = keep(BLX_KEEP_LAST, 3);
    uint32_t verdict = 7;
    blx_retention_judge(&retention, NULL, 0, 0, &verdict);
    assert_int_equal(verdict, 7);
    assert_false(blx_retention_is_none(&retention));
    retention.keep[BLX_KEEP_LAST] = 0;
    assert_true(blx_retention_is_none(&retention));
}

static bool same_period(enum blx_retention_rule rule, int64_t a, int64_t b)
{
    static const int64_t seconds[] = {[BLX_KEEP_LAST] = 1,
                                      [BLX_KEEP_HOURLY] = 3600,
                                      [BLX_KEEP_DAILY] = 86400,
                                      [BLX_KEEP_WEEKLY] = 7 * 86400};
    int64_t monday = 4 * 86400; /* 1970-01-05 */
    if (rule == BLX_KEEP_WEEKLY)
        return (a - monday) / seconds[rule] == (b - monday) / seconds[rule];
    return a / seconds[rule] == b / seconds[rule];
}

/* Each rule keeps just the newest of its N newest periods, told in another way. */
static void rules_agree_with_seconds_counted(void **state)
{
    (void)state;
    static blx_timestamp timestamps[MANY];
    static uint32_t verdicts[MANY];
    static int64_t seconds[MANY];
    int64_t now = 1700000000;
    for (size_t i = 0; i < MANY; i++) {
        now += 1 + (int64_t)(i * 2654435761U % 9000);
        seconds[i] = now;
        timestamps[i] = blx_timestamp_from_unix(now);
    }
    for (unsigned rule = BLX_KEEP_LAST; rule <= BLX_KEEP_WEEKLY; rule++)
        for (uint64_t number = 1; number < 60; number += 7) {
            struct blx_retention retention = keep(rule, number);
            judge(&retention, timestamps, MANY, verdicts);
            uint64_t periods = 0;
            for (size_t i = MANY; i > 0; i--) {
                bool first = i == MANY || !same_period(rule, seconds[i - 1], seconds[i]);
                periods += first;
                assert_int_equal(verdicts[i - 1] != 0, first && periods <= number);
            }
        }
}

/* The last whole ones stay, however many damaged ones came since. */
static void damaged_ones_do_not_use_up_the_place_of_whole_ones(void **state)
{
    (void)state;
    struct blx_retention retention = keep(BLX_KEEP_LAST, 2);
    struct blx_retention_item items[12] = {0};
    uint32_t verdicts[12];
    for (size_t i = 0; i < 12; i++)
        items[i] = (struct blx_retention_item){.time = 20260101000000 + i, .damaged = i >= 4};
    blx_retention_judge(&retention, items, 12, 0, verdicts);
    for (size_t i = 0; i < 12; i++)
        assert_int_equal(verdicts[i] != 0, i == 2 || i == 3 || i == 10 || i == 11);
}

/* A day is counted once, also if the clock was set back to it. */
static void a_clock_that_went_back_counts_no_day_twice(void **state)
{
    (void)state;
    struct blx_retention retention = keep(BLX_KEEP_DAILY, 3);
    const blx_timestamp times[] = {20260101120000, 20260102120000, 20260103120000, 20270101120000,
                                   20260103130000, 20270101130000, 20260104120000};
    const bool kept[] = {false, false, false, false, true, true, true};
    uint32_t verdicts[7];
    judge(&retention, times, 7, verdicts);
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(verdicts[i] != 0, kept[i]);
}

static void what_is_young_stays_whatever_is_counted(void **state)
{
    (void)state;
    struct blx_retention retention = keep(BLX_KEEP_LAST, 1);
    const struct blx_retention_item items[] = {
        {.time = 20260101000000}, {.time = 20260105115959}, {.time = 20260105120000},
        {.time = 20260108115959}, {.time = 20260108120000},
    };
    const uint64_t now_ns = (uint64_t)blx_timestamp_to_unix(20260108120000) * UINT64_C(1000000000);
    uint32_t verdicts[5];
    assert_true(blx_retention_is_none(&(struct blx_retention){.keep = {[BLX_KEEP_MIN_AGE] = 1}}));
    retention = blx_retention_with_default(&retention);
    blx_retention_judge(&retention, items, 5, now_ns, verdicts);
    const uint32_t young = blx_retention_bit(BLX_KEEP_MIN_AGE);
    const uint32_t wanted[] = {0, 0, young, young, young | blx_retention_bit(BLX_KEEP_LAST)};
    assert_memory_equal(verdicts, wanted, sizeof(wanted));
    retention = keep(BLX_KEEP_WITHIN, 1000);
    blx_retention_judge(&retention, items, 5, now_ns, verdicts);
    const uint32_t within = blx_retention_bit(BLX_KEEP_WITHIN);
    const uint32_t close[] = {0, 0, 0, within, within};
    assert_memory_equal(verdicts, close, sizeof(close));
}

static void tested_keeps_the_newest_that_passed(void **state)
{
    (void)state;
    struct blx_retention retention = keep(BLX_KEEP_TESTED, 2);
    const struct blx_retention_item items[] = {
        {.time = 20260101000000, .proven = true}, {.time = 20260102000000},
        {.time = 20260103000000, .proven = true}, {.time = 20260104000000},
        {.time = 20260105000000, .proven = true}, {.time = 20260106000000},
    };
    uint32_t verdicts[6];
    assert_true(blx_retention_is_none(&retention));
    retention.keep[BLX_KEEP_LAST] = 1;
    assert_false(blx_retention_is_none(&retention));
    blx_retention_judge(&retention, items, 6, UINT64_C(4102444800000000000), verdicts);
    const uint32_t tested = blx_retention_bit(BLX_KEEP_TESTED);
    const uint32_t wanted[] = {0, 0, tested, 0, tested, blx_retention_bit(BLX_KEEP_LAST)};
    assert_memory_equal(verdicts, wanted, sizeof(wanted));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(last_keeps_the_newest_ones),
        cmocka_unit_test(damaged_ones_do_not_use_up_the_place_of_whole_ones),
        cmocka_unit_test(a_clock_that_went_back_counts_no_day_twice),
        cmocka_unit_test(what_is_young_stays_whatever_is_counted),
        cmocka_unit_test(tested_keeps_the_newest_that_passed),
        cmocka_unit_test(hourly_keeps_the_newest_of_each_hour),
        cmocka_unit_test(daily_counts_the_days_that_have_one),
        cmocka_unit_test(weeks_are_those_of_iso),
        cmocka_unit_test(months_and_years_are_those_of_the_calendar),
        cmocka_unit_test(what_any_rule_keeps_stays),
        cmocka_unit_test(nothing_is_judged_where_there_is_nothing),
        cmocka_unit_test(rules_agree_with_seconds_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
