/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/session/stream_private.h"

#include <stddef.h>

#include "base/assert.h"

/* The rows of the table about streams. */
static const char *explain_stream(const struct agent_ledger_head *head,
                                  const struct agent_stream_state *state)
{
    if (blx_generation_is_none(&state->generation))
        return "the dispatcher has nothing to go on with";
    if (blx_generation_equal(&state->generation, &head->stream)) {
        if (state->durable_seq > head->sent_seq)
            return "the dispatcher has frames that this agent has not sent: this machine was set "
                   "back to an earlier state, or is a clone";
        if (state->durable_seq < head->acked_seq)
            return "the dispatcher lost frames that it had acknowledged";
        return NULL;
    }
    if (!blx_generation_is_none(&head->base) &&
        blx_generation_equal(&state->generation, &head->base) &&
        state->durable_seq == head->base_seq) {
        if (head->acked_seq > 0)
            return "the dispatcher lost frames that it had acknowledged";
        return NULL;
    }
    return "the dispatcher goes on from other frames than this agent's last ones: one of them was "
           "set back to an earlier state, or cloned";
}

const char *agent_stream_explain(const struct agent_ledger_head *head,
                                 const struct agent_stream_state *state)
{
    if (!head->stream_used)
        return "this agent has sent nothing of it yet";
    const char *reason = explain_stream(head, state);
    if (reason != NULL)
        return reason;
    if (state->last_checkpoint < head->last_checkpoint)
        return "the dispatcher's last checkpoint is older than the one it had confirmed";
    if (state->last_checkpoint > head->last_checkpoint && !head->checkpoint_unconfirmed &&
        !state->knows_checkpoint)
        return "the dispatcher has a newer checkpoint than this agent knows of: this machine was "
               "set back to an earlier state, or is a clone";
    return NULL;
}

/* The order counts: a stream that is not used goes on nowhere. */
static void set_stream(struct agent_ledger_head *head, const struct blx_generation *fresh,
                       const struct blx_generation *base, uint64_t base_seq,
                       blx_timestamp last_checkpoint)
{
    __atomic_store_n(&head->stream_used, false, __ATOMIC_SEQ_CST);
    head->base = *base;
    head->base_seq = base_seq;
    head->stream = *fresh;
    head->acked_seq = 0;
    head->sent_seq = 0;
    head->last_checkpoint = last_checkpoint;
    head->checkpoint_unconfirmed = false;
    __atomic_store_n(&head->stream_used, true, __ATOMIC_SEQ_CST);
}

void agent_stream_continue(struct agent_ledger_head *head, const struct blx_generation *fresh,
                           const struct agent_stream_state *state)
{
    blx_assert(agent_stream_explain(head, state) == NULL);
    set_stream(head, fresh, &state->generation, state->durable_seq, state->last_checkpoint);
}

void agent_stream_begin(struct agent_ledger_head *head, const struct blx_generation *fresh,
                        const struct agent_stream_state *state)
{
    static const struct blx_generation none;
    set_stream(head, fresh, &none, 0, state->last_checkpoint);
}
