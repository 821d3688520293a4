/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many runs every copy of a tracepoint's program may have missed (I4).
 *
 * The kernel counts for each copy the runs that it left out, because the copy was active on that
 * CPU already. One copy leaves out a run now and then on a busy machine, and another one works
 * then. An event passes all of them only while all are active at once. So a doubt needs both in the
 * same span: that all copies have become active or ceased to be ("saturated", the programs count
 * it), and that each copy has left something out. Counted from the birth on instead of by span, the
 * first saturation would turn each ordinary left-out run after it into a doubt.
 *
 *     look                                  look
 *      |                                     |
 *      saturated, then left out    ...       left out, then saturated
 *      |___________________________________________________________|  all saturations of the span
 *                |_________________________________|                   all left-out runs
 *
 * Threads: pure.
 */
#pragma once

#include <stdint.h>

#include "bpf/tracker.h"

/* What the counters of one tracepoint were: `saturated_before` was read before `left_out` (the
 * least of the copies), `saturated_after` after it. */
struct agent_missed_look {
    uint64_t saturated_before;
    uint64_t left_out;
    uint64_t saturated_after;
};

/* Adds to state->missed what may have been missed since the last look, and remembers this one.
 * Returns how much it added. */
uint64_t agent_missed_compare(struct blx_tracker_state *state, unsigned tracepoint,
                              const struct agent_missed_look *look);
