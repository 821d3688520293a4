/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/track/missed_private.h"

uint64_t agent_missed_compare(struct blx_tracker_state *state, unsigned tracepoint,
                              const struct agent_missed_look *look)
{
    uint64_t missed = look->saturated_after > state->saturated[tracepoint]
                          ? look->left_out - state->left_out[tracepoint]
                          : 0;
    state->missed += missed;
    state->saturated[tracepoint] = look->saturated_before;
    state->left_out[tracepoint] = look->left_out;
    return missed;
}
