/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <limits.h>

static uint64_t read_clock(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return blx_ns_from_timespec(&now);
}

uint64_t blx_clock_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t blx_clock_realtime_ns(void)
{
    return read_clock(CLOCK_REALTIME);
}

uint64_t blx_clock_thread_ns(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t blx_deadline_in_ms(uint64_t timeout_ms)
{
    uint64_t now_ns = blx_clock_ns();
    if (timeout_ms > (BLX_FOR_EVER - now_ns) / BLX_NS_PER_MS)
        return BLX_FOR_EVER;
    return now_ns + timeout_ms * BLX_NS_PER_MS;
}

uint64_t blx_deadline_left_ms(uint64_t deadline_ns)
{
    if (deadline_ns == BLX_FOR_EVER)
        return BLX_FOR_EVER;
    uint64_t now_ns = blx_clock_ns();
    return now_ns >= deadline_ns ? 0 : blx_ns_to_ms_up(deadline_ns - now_ns);
}

int blx_deadline_poll_ms(uint64_t deadline_ns)
{
    if (deadline_ns == BLX_FOR_EVER)
        return -1;
    uint64_t left_ms = blx_deadline_left_ms(deadline_ns);
    return left_ms > INT_MAX ? INT_MAX : (int)left_ms;
}
