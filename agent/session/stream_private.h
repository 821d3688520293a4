/* SPDX-License-Identifier: Apache-2.0 */
/*
 * May a volume's frames simply go on? Or did the agent, the dispatcher or both change since they
 * spoke last: set back to an earlier state, cloned, or another one in their place?
 *
 * Each session has a stream of its own: a random generation that the agent makes for it. So the
 * pair (stream, seq) names one frame for ever, whatever is set back: an agent that is set back
 * never sends under a stream that it used before. The ledger knows the stream that was begun last:
 * how far it was sent and acknowledged, and from which stream it went on (the base). The dispatcher
 * names the stream and the frame that its stored state ends with. All of it goes on only if
 *
 *     what the dispatcher has is what this agent has sent, up to some frame, and every frame that
 *     was acknowledged is in it
 *
 * because just the blocks of frames that were not acknowledged are marked. S is the ledger's
 * stream, B its base:
 *
 *     the dispatcher ends with    what happened                           what follows
 *     S, acked <= seq <= sent     nothing; or a crash, a cut connection   goes on
 *     B at its end, acked = 0     BEGIN never arrived                     goes on
 *     S, seq > sent               the agent was set back while it was     compare
 *                                 connected, or is a clone's original
 *     S, seq < acked              the dispatcher was set back             compare
 *     B, but acked > 0            the dispatcher was set back             compare
 *     another stream              the agent was set back, or a clone of   compare
 *                                 it was here; or the dispatcher is
 *                                 another copy, or was set back further
 *     no stream                   frames were lost, or it is another      compare, or all of it
 *                                 disk; the dispatcher says which
 *
 *     an older checkpoint than the one that it confirmed: the dispatcher was set back      compare
 *     a newer one, though no answer to a CHECKPOINT is missing: the agent was set back     compare
 *     a newer one, and the stream of another volume goes on with it: this disk was away    goes on
 *
 *     agent    dispatcher
 *     back     stays         S with seq > sent, or a later stream, or a newer checkpoint: compare.
 *                            If nothing was sent since: nothing differs, and it goes on
 *     stays    back          S with seq < acked, or an earlier stream: compare
 *     back     back          goes on only if the two moments fit, which makes it right: what the
 *                            dispatcher has is what this agent has sent and marked. Its next frames
 *                            have a new stream, so a third state of either is noticed later
 *     clone    stays         the first one that sends begins a stream that the other one does not
 *                            know: compare, each time that the other one comes
 *     stays    two copies    as above: the agent's frames at one are a stream unknown to the other
 *
 * Why no ID of the dispatcher: it would not tell a copy with memory from its original, and
 * everything that it could tell shows in the streams.
 *
 * Threads: pure functions of what they are given.
 */
#pragma once

#include <stdbool.h>

#include "agent/track/ledger.h"

/* What the dispatcher says of its state, in WELCOME and VOLUME_STATE. */
struct agent_stream_state {
    struct blx_generation generation; /* none: there is nothing to go on with */
    uint64_t durable_seq;
    blx_timestamp last_checkpoint;
    bool knows_checkpoint; /* this agent took it: the stream of another volume of its goes on */
};

/* NULL if the volume's frames go on after that state; otherwise why they do not. */
const char *agent_stream_explain(const struct agent_ledger_head *head,
                                 const struct agent_stream_state *state);

/*
 * The ledger's stream is `fresh` from now on. _continue: it goes on after that state, which
 * agent_stream_explain() must have found good. _begin: it does not; what the dispatcher has is
 * compared, or everything is sent. To be called before BEGIN is sent. A process that dies in the
 * middle leaves a ledger that goes on nowhere.
 */
void agent_stream_continue(struct agent_ledger_head *head, const struct blx_generation *fresh,
                           const struct agent_stream_state *state);
void agent_stream_begin(struct agent_ledger_head *head, const struct blx_generation *fresh,
                        const struct agent_stream_state *state);
