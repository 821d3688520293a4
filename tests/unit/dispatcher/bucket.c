/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/bucket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void bucket_gives_its_burst_and_one_in_each_period(void **state)
{
    (void)state;
    const struct dispatcher_bucket_size size = {.burst = 3, .period_ns = 100};
    struct dispatcher_bucket bucket = {0};
    for (int i = 0; i < 3; i++)
        assert_true(dispatcher_bucket_take(&bucket, &size, 1000));
    assert_false(dispatcher_bucket_take(&bucket, &size, 1000));
    assert_false(dispatcher_bucket_take(&bucket, &size, 1099));
    assert_true(dispatcher_bucket_take(&bucket, &size, 1100));
    assert_false(dispatcher_bucket_take(&bucket, &size, 1199));
    assert_true(dispatcher_bucket_take(&bucket, &size, 1250));
    assert_false(dispatcher_bucket_take(&bucket, &size, 1299));
    for (int i = 0; i < 3; i++) /* never more than the burst, however long nobody came */
        assert_true(dispatcher_bucket_take(&bucket, &size, 1000000));
    assert_false(dispatcher_bucket_take(&bucket, &size, 1000000));
}

static void bucket_is_not_emptied_by_a_time_before_its_last(void **state)
{
    (void)state;
    const struct dispatcher_bucket_size size = {.burst = 2, .period_ns = 100};
    struct dispatcher_bucket bucket = {0};
    assert_true(dispatcher_bucket_take(&bucket, &size, 1000));
    assert_true(dispatcher_bucket_take(&bucket, &size, 999));
    assert_false(dispatcher_bucket_take(&bucket, &size, 998));
    assert_false(dispatcher_bucket_take(&bucket, &size, 1099));
    assert_true(dispatcher_bucket_take(&bucket, &size, 1100));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bucket_gives_its_burst_and_one_in_each_period),
        cmocka_unit_test(bucket_is_not_emptied_by_a_time_before_its_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
