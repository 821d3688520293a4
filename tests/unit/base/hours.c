/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hours.h"

enum { HOUR = 3600, DAY = 24 * HOUR };

static struct blx_hours parsed(const char *text)
{
    struct blx_hours hours = {0};
    if (blx_hours_parse(text, &hours) != 0)
        fail_msg("%s", text);
    return hours;
}

/* UTC, as `date -u +%s` reads it. */
static time_t at(const char *text)
{
    struct tm tm = {0};
    assert_non_null(strptime(text, "%Y-%m-%d %H:%M", &tm));
    return timegm(&tm);
}

static void use_zone(const char *zone)
{
    setenv("TZ", zone, 1);
    tzset();
}

static void they_are_written_as_they_are_read(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",
                                        "2:00-5:00",
                                        "02:00-02:00",
                                        "24:00-05:00",
                                        "02:00-25:00",
                                        "02:60-05:00",
                                        "02:00-00:00",
                                        "02:00_05:00",
                                        "02:00-05:000"};
    char text[BLX_HOURS_TEXT_BYTES];
    struct blx_hours hours = parsed("22:30-06:05");
    assert_string_equal(blx_hours_format(&hours, text), "22:30-06:05");
    hours = parsed("00:00-24:00");
    assert_string_equal(blx_hours_format(&hours, text), "00:00-24:00");
    assert_string_equal(blx_hours_format(&(struct blx_hours){0}, text), "");
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(blx_hours_parse(wrong[i], &hours), -EINVAL);
}

static void expect(const char *hours, const char *now, bool within, const char *begin,
                   const char *end)
{
    const struct blx_hours wanted = parsed(hours);
    time_t found_begin, found_end;
    assert_int_equal(blx_hours_find(&wanted, at(now), &found_begin, &found_end), within);
    assert_int_equal(found_begin, at(begin));
    assert_int_equal(found_end, at(end));
}

static void hours_over_midnight_are_one_piece(void **state)
{
    (void)state;
    use_zone("UTC0");
    expect("02:00-05:00", "2026-03-05 02:00", true, "2026-03-05 02:00", "2026-03-05 05:00");
    expect("02:00-05:00", "2026-03-05 05:00", false, "2026-03-06 02:00", "2026-03-06 05:00");
    expect("22:00-04:00", "2026-03-05 03:59", true, "2026-03-04 22:00", "2026-03-05 04:00");
    expect("22:00-04:00", "2026-03-05 04:00", false, "2026-03-05 22:00", "2026-03-06 04:00");
    expect("22:00-04:00", "2026-12-31 23:00", true, "2026-12-31 22:00", "2027-01-01 04:00");
    time_t begin, end;
    assert_true(blx_hours_find(&(struct blx_hours){0}, at("2026-03-05 12:00"), &begin, &end));
    assert_int_equal(begin, 0);
}

/* In Berlin 02:00 becomes 03:00 on 2026-03-29, and 03:00 becomes 02:00 on 2026-10-25. */
static void days_of_23_and_25_hours_have_them_once(void **state)
{
    (void)state;
    use_zone("CET-1CEST,M3.5.0,M10.5.0/3");
    expect("02:00-05:00", "2026-03-28 01:30", true, "2026-03-28 01:00", "2026-03-28 04:00");
    expect("01:00-05:00", "2026-03-29 02:00", true, "2026-03-29 00:00", "2026-03-29 03:00");
    expect("02:00-05:00", "2026-10-25 00:30", true, "2026-10-25 00:00", "2026-10-25 04:00");
    expect("02:00-05:00", "2026-10-25 01:30", true, "2026-10-25 00:00", "2026-10-25 04:00");
    static const char *const all[] = {"02:00-05:00", "02:10-02:50", "23:00-02:30", "01:30-02:30"};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        const struct blx_hours hours = parsed(all[i]);
        unsigned begun = 0;
        bool was = true;
        for (time_t now = at("2026-03-01 12:00"); now < at("2026-11-01 12:00"); now += 1800) {
            time_t begin, end;
            bool is = blx_hours_find(&hours, now, &begin, &end);
            if (is && !was)
                begun++;
            was = is;
            assert_true(end > begin && end - begin <= 7 * HOUR && begin - now <= 2 * DAY);
        }
        assert_int_equal(begun, 245);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_are_written_as_they_are_read),
        cmocka_unit_test(hours_over_midnight_are_one_piece),
        cmocka_unit_test(days_of_23_and_25_hours_have_them_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
