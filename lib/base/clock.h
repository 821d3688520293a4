/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clocks, and the words for time inside of the programs: nanoseconds in a uint64_t, with names
 * that end in _ns. A deadline is such a time of CLOCK_MONOTONIC, or BLX_FOR_EVER.
 *
 * Threads: any. No function here waits or fails.
 */
#pragma once

#include <stdint.h>
#include <time.h>

#define BLX_NS_PER_MS UINT64_C(1000000)
#define BLX_NS_PER_S  UINT64_C(1000000000)

/* As a time-out in milliseconds and as a deadline: there is no limit. */
#define BLX_FOR_EVER UINT64_MAX

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t blx_clock_ns(void);

/* CLOCK_REALTIME in nanoseconds since 1970. */
uint64_t blx_clock_realtime_ns(void);

/* The time of a processor that the calling thread has used. */
uint64_t blx_clock_thread_ns(void);

/* The deadline `timeout_ms` from now. BLX_FOR_EVER, or a time-out that long, gives BLX_FOR_EVER. */
uint64_t blx_deadline_in_ms(uint64_t timeout_ms);

/*
 * The milliseconds until the deadline, rounded up, so that whoever waits that long does not wake
 * too early. 0 if it has passed, BLX_FOR_EVER if there is none.
 */
uint64_t blx_deadline_left_ms(uint64_t deadline_ns);

/*
 * The same as an argument of poll(2): -1 if there is no deadline. One further away than INT_MAX
 * milliseconds gives INT_MAX, so look again after poll() has timed out.
 */
int blx_deadline_poll_ms(uint64_t deadline_ns);

/* Rounded up: 1 ns is 1 ms. Divide by BLX_NS_PER_MS to round down. */
static inline uint64_t blx_ns_to_ms_up(uint64_t ns)
{
    return ns / BLX_NS_PER_MS + (ns % BLX_NS_PER_MS != 0);
}

/* For rates and figures. */
static inline double blx_ns_to_seconds(uint64_t ns)
{
    return (double)ns / 1e9;
}

static inline uint64_t blx_ns_from_timespec(const struct timespec *time)
{
    return (uint64_t)time->tv_sec * BLX_NS_PER_S + (uint64_t)time->tv_nsec;
}

static inline struct timespec blx_ns_to_timespec(uint64_t ns)
{
    return (struct timespec){(time_t)(ns / BLX_NS_PER_S), (long)(ns % BLX_NS_PER_S)};
}
