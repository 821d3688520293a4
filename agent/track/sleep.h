/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Was the machine hibernated? Memory comes back as it was, with tracker and counters, but not the
 * disks: the image was written to one of them after the memory was copied, and whoever had the
 * disks meanwhile may have written, too. No counter tells, as all of them come back as well.
 *
 * What tells is the clock that goes on while the machine sleeps (CLOCK_BOOTTIME). A suspend to
 * memory, which keeps the disks, moves it also, but is counted in /sys/power/suspend_stats/success;
 * a kernel that does not count it there gets a rescan for each.
 *
 * Threads: one at a time. The struct lives in the ledger and outlives the process.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* All zero: it knows nothing yet. */
struct agent_sleep {
    bool knows;
    uint64_t asleep_ns; /* since boot, at most */
    uint64_t suspends;
    uint64_t hibernations; /* so far */
};

/* Looks now. More hibernations than before = rescan. */
void agent_sleep_look(struct agent_sleep *sleep);

/* The comparison itself: how long the machine was asleep since boot, at least and at most, and how
 * many suspends the kernel has counted; UINT64_MAX: it counts none. */
void agent_sleep_compare(struct agent_sleep *sleep, uint64_t least_ns, uint64_t most_ns,
                         uint64_t suspends);
