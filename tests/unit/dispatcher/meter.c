/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "dispatcher/meter.h"

enum { SECOND = 1000000000 };

static void meter_knows_the_recent_rate(void **state)
{
    (void)state;
    struct dispatcher_meter meter = {0};
    uint64_t now_ns = UINT64_C(1000) * SECOND;
    assert_int_equal(dispatcher_meter_read(&meter, now_ns), 0);
    for (int tenth = 0; tenth < 200; tenth++, now_ns += SECOND / 10)
        dispatcher_meter_add(&meter, 100, now_ns);
    uint64_t rate = dispatcher_meter_read(&meter, now_ns);
    assert_in_range(rate, 950, 1050);
    uint64_t fading = dispatcher_meter_read(&meter, now_ns + UINT64_C(3) * SECOND);
    assert_in_range(fading, 1, 600);
    assert_int_equal(dispatcher_meter_read(&meter, now_ns + UINT64_C(10) * SECOND), 0);
    dispatcher_meter_add(&meter, 5000, now_ns + UINT64_C(500) * SECOND);
    assert_in_range(dispatcher_meter_read(&meter, now_ns + UINT64_C(501) * SECOND), 990, 1020);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(meter_knows_the_recent_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
