/* SPDX-License-Identifier: Apache-2.0 */
/* Times as people write them, in a zone with summer time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/when.h"

/* 2026-11-29 12:34:56 in UTC, 13:34:56 in Berlin. */
static const uint64_t now_ns = UINT64_C(1795955696) * UINT64_C(1000000000);

static void reads(const char *text, blx_timestamp first, blx_timestamp last)
{
    blx_timestamp a = 0, b = 0;
    struct blx_error err = {0};
    if (blx_when_parse(text, now_ns, &a, &b, &err) != 0)
        fail_msg("'%s': %s", text, err.message);
    if (a != first || b != last)
        fail_msg("'%s' is %llu to %llu", text, (unsigned long long)a, (unsigned long long)b);
}

static void times_are_local_unless_they_say_otherwise(void **state)
{
    (void)state;
    reads("2026-11-28 18:00", 20261128170000, 20261128170059);
    reads("2026-11-28T18:00:05", 20261128170005, 20261128170005);
    reads("2026-07-28 18:00", 20260728160000, 20260728160059); /* summer */
    reads("2026-11-28 18:00Z", 20261128180000, 20261128180059);
    reads("2026-11-28 18:00 Z", 20261128180000, 20261128180059);
    reads("2026-11-28T18:00:00-05:30", 20261128233000, 20261128233000);
    reads("2026-11-28", 20261127230000, 20261128225959);
    reads("2026-10-25", 20261024220000, 20261025225959); /* a day of 25 hours */
}

static void days_and_spans_count_from_now(void **state)
{
    (void)state;
    reads("yesterday 18:00", 20261128170000, 20261128170059);
    reads("yesterday", 20261127230000, 20261128225959);
    reads("today", 20261128230000, 20261129225959);
    reads("today 08:15:30", 20261129071530, 20261129071530);
    reads("08:15", 20261129071500, 20261129071559);
    reads("2h ago", 20261129103456, 20261129103456);
    reads("1.5 d ago", 20261128003456, 20261128003456);
    reads("now", 20261129123456, 20261129123456);
}

static void names_of_checkpoints_stay_utc(void **state)
{
    (void)state;
    reads("20261128180000", 20261128180000, 20261128180000);
    reads("202611281800", 20261128180000, 20261128180059);
}

static void yesterday_of_the_first_is_the_last_of_the_month_before(void **state)
{
    (void)state;
    blx_timestamp first = 0, last = 0;
    const uint64_t first_of_december_ns = UINT64_C(1796119200) * UINT64_C(1000000000);
    assert_int_equal(blx_when_parse("yesterday 18:00", first_of_december_ns, &first, &last, NULL),
                     0);
    assert_int_equal(first, 20261130170000);
}

static void anything_else_is_refused_with_the_forms(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",         "noon",  "2026-02-30", "25:00",   "2026-11-28 18", "2026-11-28 18:00 CET",
        "ago",      "2 ago", "yesterdays", "-2h ago", "2026-13-01",    "2026-11-28 18:00:61",
        "18:00Zulu"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        blx_timestamp first = 7, last = 7;
        struct blx_error err = {0};
        if (blx_when_parse(bad[i], now_ns, &first, &last, &err) != -EINVAL)
            fail_msg("'%s' is taken", bad[i]);
        assert_true(first == 7 && last == 7);
        assert_non_null(strstr(err.message, "yesterday 18:00"));
    }
}

static void output_has_its_offset(void **state)
{
    (void)state;
    char text[BLX_WHEN_TEXT_BYTES];
    assert_string_equal(blx_when_format(20261128170000, BLX_ZONE_LOCAL, text),
                        "2026-11-28 18:00:00 +01:00");
    assert_string_equal(blx_when_format(20260728160000, BLX_ZONE_LOCAL, text),
                        "2026-07-28 18:00:00 +02:00");
    assert_string_equal(blx_when_format(20261128170000, BLX_ZONE_UTC, text),
                        "2026-11-28T17:00:00Z");
}

int main(void)
{
    setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
    tzset();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_local_unless_they_say_otherwise),
        cmocka_unit_test(days_and_spans_count_from_now),
        cmocka_unit_test(names_of_checkpoints_stay_utc),
        cmocka_unit_test(yesterday_of_the_first_is_the_last_of_the_month_before),
        cmocka_unit_test(anything_else_is_refused_with_the_forms),
        cmocka_unit_test(output_has_its_offset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
