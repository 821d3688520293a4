/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A round: one pass over the bitmaps of all volumes that sends the blocks that a claim finds.
 * Background work, a full pass, and the pre-copy of a checkpoint are rounds.
 *
 * Threads: the session's control thread. Waits for the pipeline, and so for the network.
 */
#pragma once

#include <stdbool.h>

#include "agent/session/session_private.h"

enum agent_round_end {
    AGENT_ROUND_COMPLETE, /* after the last block */
    AGENT_ROUND_YIELDS,   /* or as soon as a checkpoint is asked for and can begin */
};

/*
 * Sends every block that such a claim finds of every volume that is not apart, nor being compared.
 * Those with the fewest blocks go first. Frames may still be on their way when it returns:
 * agent_session_drain(). 0, or the session's failure.
 */
int agent_round_send(struct agent_session *session, enum agent_claim kind, enum agent_round_end end,
                     struct blx_error *err);

enum agent_retry {
    AGENT_RETRY_FOR_CUT,       /* a disk that takes long to fail rests nine times as long */
    AGENT_RETRY_IN_BACKGROUND, /* and every disk half a minute */
};

/*
 * Tries to read bad blocks again: a few at first, and more as long as some of them can be read.
 * Those are sent. `*tried` (may be NULL): whether a read was tried. 0, or why the session ends.
 */
int agent_round_retry(struct agent_session *session, enum agent_retry retry, bool *tried,
                      struct blx_error *err);

/* Bytes that are dirty or pending and not bad, over all volumes that are not apart. */
uint64_t agent_round_count_marked_bytes(const struct agent_session *session);

/* Whether background work is to yield: a checkpoint is asked for, or a held one can begin. */
bool agent_round_is_wanted_elsewhere(struct agent_session *session);
