/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bucket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void bucket_gives_its_burst_and_one_in_each_period(void **state)
{
    (void)state;
    const struct blx_bucket_size size = {.burst = 3, .period_ns = 100};
    struct blx_bucket bucket = {0};
    unsigned held_back = 0;
    for (int i = 0; i < 3; i++)
        assert_true(blx_bucket_take(&bucket, &size, 1000, &held_back));
    assert_false(blx_bucket_take(&bucket, &size, 1000, &held_back));
    assert_false(blx_bucket_take(&bucket, &size, 1099, &held_back));
    assert_true(blx_bucket_take(&bucket, &size, 1100, &held_back));
    assert_false(blx_bucket_take(&bucket, &size, 1199, &held_back));
    assert_true(blx_bucket_take(&bucket, &size, 1250, &held_back));
    assert_false(blx_bucket_take(&bucket, &size, 1299, &held_back));
    for (int i = 0; i < 3; i++) /* never more than the burst, however long nobody came */
        assert_true(blx_bucket_take(&bucket, &size, 1000000, &held_back));
    assert_false(blx_bucket_take(&bucket, &size, 1000000, &held_back));
}

static void bucket_is_not_emptied_by_a_time_before_its_last(void **state)
{
    (void)state;
    const struct blx_bucket_size size = {.burst = 2, .period_ns = 100};
    struct blx_bucket bucket = {0};
    unsigned held_back = 0;
    assert_true(blx_bucket_take(&bucket, &size, 1000, &held_back));
    assert_true(blx_bucket_take(&bucket, &size, 999, &held_back));
    assert_false(blx_bucket_take(&bucket, &size, 998, &held_back));
    assert_false(blx_bucket_take(&bucket, &size, 1099, &held_back));
    assert_true(blx_bucket_take(&bucket, &size, 1100, &held_back));
}

static void bucket_tells_how_many_were_held_back(void **state)
{
    (void)state;
    const struct blx_bucket_size size = {.burst = 1, .period_ns = 100};
    struct blx_bucket bucket = {0};
    unsigned held_back = 7;
    assert_true(blx_bucket_take(&bucket, &size, 1000, &held_back));
    assert_int_equal(held_back, 0);
    held_back = 7;
    for (int i = 0; i < 3; i++)
        assert_false(blx_bucket_take(&bucket, &size, 1050, &held_back));
    assert_int_equal(held_back, 7);
    assert_true(blx_bucket_take(&bucket, &size, 1100, &held_back));
    assert_int_equal(held_back, 3);
    assert_true(blx_bucket_take(&bucket, &size, 1200, &held_back));
    assert_int_equal(held_back, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bucket_gives_its_burst_and_one_in_each_period),
        cmocka_unit_test(bucket_is_not_emptied_by_a_time_before_its_last),
        cmocka_unit_test(bucket_tells_how_many_were_held_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
