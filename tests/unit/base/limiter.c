/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/limiter.h"

#define MS UINT64_C(1000000)

enum { FRAME_BYTES = 256 * 1024, RATE = 10 << 20 };

static struct tm eight = {.tm_wday = 1, .tm_hour = 8};

static void set(struct blx_limiter *limiter, const char *text)
{
    struct blx_bandwidth limit;
    assert_int_equal(blx_bandwidth_parse(text, &limit, NULL), 0);
    blx_limiter_set(limiter, &limit);
}

/* Sends frames from `from_ns` on for `ns`, whenever the limiter lets one go; how many bytes went.
 */
static uint64_t send_for(struct blx_limiter *limiter, uint64_t from_ns, uint64_t ns)
{
    uint64_t bytes = 0;
    for (uint64_t now = from_ns; now < from_ns + ns;) {
        uint64_t wait = blx_limiter_get_wait_ns(limiter, now, &eight);
        if (wait == 0) {
            blx_limiter_take(limiter, FRAME_BYTES);
            bytes += FRAME_BYTES;
            assert_true(bytes < UINT64_C(1) << 40);
        }
        now += wait;
    }
    return bytes;
}

static void without_a_limit_nothing_waits(void **state)
{
    (void)state;
    struct blx_limiter limiter = {0};
    for (uint64_t i = 0; i < 100000; i++) {
        assert_int_equal(blx_limiter_get_wait_ns(&limiter, i, &eight), 0);
        blx_limiter_take(&limiter, FRAME_BYTES);
    }
}

static void of_the_own_limit_and_the_policys_the_lower_counts(void **state)
{
    (void)state;
    static const struct {
        const char *own, *policy;
        uint64_t bytes_per_second;
    } cases[] = {{"10M", "2M", 2 << 20},
                 {"2M", "10M", 2 << 20},
                 {"none", "2M", 2 << 20},
                 {"2M", "none", 2 << 20},
                 {"2M", "08:00-09:00 1M, none", 1 << 20},
                 {"2M", "09:00-10:00 1M, none", 2 << 20}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct blx_limiter limiter = {0};
        struct blx_bandwidth policy;
        set(&limiter, cases[i].own);
        assert_int_equal(blx_bandwidth_parse(cases[i].policy, &policy, NULL), 0);
        blx_limiter_set_policy(&limiter, &policy);
        blx_limiter_get_wait_ns(&limiter, 0, &eight);
        assert_int_equal(limiter.bytes_per_second, cases[i].bytes_per_second);
    }
}

static void the_mean_is_the_rate(void **state)
{
    (void)state;
    static const char *const rates[] = {"64K", "10M", "1G"};
    static const uint64_t bytes[] = {64 << 10, 10 << 20, 1 << 30};
    for (size_t i = 0; i < 3; i++) {
        struct blx_limiter limiter = {0};
        set(&limiter, rates[i]);
        uint64_t sent = send_for(&limiter, 1000 * MS, 100000 * MS);
        uint64_t burst = bytes[i] * BLX_LIMITER_BURST_MS / 1000 + FRAME_BYTES;
        assert_true(sent >= bytes[i] * 100 && sent <= bytes[i] * 100 + burst);
    }
}

static void a_pause_saves_up_no_more_than_a_burst(void **state)
{
    (void)state;
    struct blx_limiter limiter = {0};
    set(&limiter, "10M");
    send_for(&limiter, 1000 * MS, 1000 * MS);
    uint64_t hour = 3600 * 1000 * MS;
    uint64_t sent = 0;
    while (blx_limiter_get_wait_ns(&limiter, hour, &eight) == 0) {
        blx_limiter_take(&limiter, FRAME_BYTES);
        sent += FRAME_BYTES;
    }
    assert_true(sent <= RATE * (uint64_t)BLX_LIMITER_BURST_MS / 1000 + FRAME_BYTES);
}

static void another_limit_counts_at_once(void **state)
{
    (void)state;
    struct blx_limiter limiter = {0};
    set(&limiter, "1K");
    assert_int_equal(blx_limiter_get_wait_ns(&limiter, MS, &eight), 0);
    blx_limiter_take(&limiter, FRAME_BYTES);
    assert_true(blx_limiter_get_wait_ns(&limiter, 2 * MS, &eight) > 200 * 1000 * MS);
    set(&limiter, "10M"); /* the debt is paid at the new rate */
    assert_true(blx_limiter_get_wait_ns(&limiter, 3 * MS, &eight) < 26 * MS);
    set(&limiter, "none");
    assert_int_equal(blx_limiter_get_wait_ns(&limiter, 4 * MS, &eight), 0);
    set(&limiter, "1K"); /* what went without a limit is no debt */
    assert_int_equal(blx_limiter_get_wait_ns(&limiter, 5 * MS, &eight), 0);
}

static void the_time_of_day_counts_at_once(void **state)
{
    (void)state;
    struct blx_limiter limiter = {0};
    struct tm nine = {.tm_wday = 1, .tm_hour = 9};
    set(&limiter, "08:00-09:00 1K, none");
    assert_int_equal(blx_limiter_get_wait_ns(&limiter, MS, &eight), 0);
    blx_limiter_take(&limiter, FRAME_BYTES);
    assert_true(blx_limiter_get_wait_ns(&limiter, 2 * MS, &eight) > 0);
    assert_int_equal(blx_limiter_get_wait_ns(&limiter, 3 * MS, &nine), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_limit_nothing_waits),
        cmocka_unit_test(of_the_own_limit_and_the_policys_the_lower_counts),
        cmocka_unit_test(the_mean_is_the_rate),
        cmocka_unit_test(a_pause_saves_up_no_more_than_a_burst),
        cmocka_unit_test(another_limit_counts_at_once),
        cmocka_unit_test(the_time_of_day_counts_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
