/* SPDX-License-Identifier: Apache-2.0 */
/* The header Range of a download. */
#include "page/range.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { SIZE = 1000 };

static void check(const char *header, uint64_t first, uint64_t bytes)
{
    struct page_range range = {0};
    assert_int_equal(page_range_parse(header, SIZE, &range), 1);
    assert_int_equal(range.first, first);
    assert_int_equal(range.bytes, bytes);
}

static void ranges_lie_inside_the_image(void **state)
{
    (void)state;
    check("bytes=0-0", 0, 1);
    check("bytes=10-19", 10, 10);
    check("bytes=990-", 990, 10);
    check("bytes=990-5000", 990, 10);
    check("bytes=-1", 999, 1);
    check("bytes=-1000", 0, SIZE);
    check("bytes=-99999999999999999999999", 0, SIZE);
    check("bytes=5-99999999999999999999999", 5, SIZE - 5);
}

static void whatever_is_no_single_range_is_all(void **state)
{
    static const char *const others[] = {"",           "bytes",      "bytes=",        "bytes=-",
                                         "bytes=5-3",  "bytes=a-b",  "bytes=1-2,3-4", "items=1-2",
                                         "bytes= 1-2", "bytes=+1-2", "bytes=1-2 ",    "bytes=--1",
                                         "bytes=1",    "bytes=1--2"};
    struct page_range range = {.first = 7, .bytes = 7};
    (void)state;
    assert_int_equal(page_range_parse(NULL, SIZE, &range), 0);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        assert_int_equal(page_range_parse(others[i], SIZE, &range), 0);
    assert_int_equal(range.first, 7);
}

static void ranges_beyond_the_end_are_refused(void **state)
{
    struct page_range range;
    (void)state;
    assert_int_equal(page_range_parse("bytes=1000-", SIZE, &range), -ERANGE);
    assert_int_equal(page_range_parse("bytes=99999999999999999999-", SIZE, &range), -ERANGE);
    assert_int_equal(page_range_parse("bytes=-0", SIZE, &range), -ERANGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_lie_inside_the_image),
        cmocka_unit_test(whatever_is_no_single_range_is_all),
        cmocka_unit_test(ranges_beyond_the_end_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
