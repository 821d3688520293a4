/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arithmetic of sync-freq: when an agent's turn comes. Beats are one period apart. A hash of
 * the agent's ID is its phase within the period. So a hundred agents do not flush and freeze at the
 * same moment, and a reconnect does not move the beat.
 *
 * Threads: all functions are pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/timestamp.h"

/* The agent's first beat after `after_ns` (blx_clock_ns() time). `period_ns` is not 0. */
uint64_t dispatcher_beat_next_ns(const char *agent_id, uint64_t period_ns, uint64_t after_ns);

/* Whether an agent that connects now need not wait for its beat: no checkpoint yet, or the last one
 * was cut (blx_manifest_time(); 0: none) longer ago than the period. */
bool dispatcher_beat_is_overdue(blx_timestamp last_time, uint64_t period_ns,
                                uint64_t now_realtime_ns);
