/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A dead man's switch for the service manager (WatchdogSec= of a unit): a daemon says in time that
 * it is alive, or is killed and started again. Each loop that must turn has a hand on it, and a
 * ping is sent only when all hands have turned since the last ping. So the ping says that the work
 * goes on, not that the process exists. A loop turns at least every blx_watchdog_wait_ns().
 *
 * Threads: any after init. A turn never blocks: a service manager that does not read misses a ping
 * and gets the next one.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

/* All zero: no service manager wants pings, and a turn does nothing. */
struct blx_watchdog {
    uint64_t wait_ns; /* constant after init, as is hands */
    unsigned hands;
    atomic_uint turned;                /* a bit for each hand */
    _Atomic(uint64_t) last_attempt_ns; /* blx_clock_ns() */
};

/* Reads $WATCHDOG_USEC and $WATCHDOG_PID, which the service manager sets. `hands`: 1 to 32. */
void blx_watchdog_init(struct blx_watchdog *watchdog, unsigned hands);

/* `hand`, from 0, has turned. Cheap enough for any loop: it makes a system call at most twice in
 * the service manager's period. */
void blx_watchdog_turn(struct blx_watchdog *watchdog, unsigned hand);

/* The longest that a loop may wait for something to do; UINT64_MAX if no one wants pings. */
uint64_t blx_watchdog_wait_ns(const struct blx_watchdog *watchdog);
