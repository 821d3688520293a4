/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A round: one pass over the bitmaps of all volumes that sends what a claim finds. Background work,
 * a full pass, and the pre-copy of a checkpoint are rounds.
 *
 * Threads: the session's control thread. Waits for the pipeline, and so for the network.
 */
#pragma once

#include <stdbool.h>

#include "agent/session/session.h"

/*
 * Sends every claimed block of every volume. With `yield` it ends early where a checkpoint is asked
 * for. Frames may still be on their way when it returns: agent_session_drain(). The session's rc.
 */
int agent_round_send(struct agent_session *session, enum agent_claim kind, bool yield,
                     struct blx_error *err);

/*
 * Tries to read bad blocks again, a few at first, and more for as long as some can be read; what
 * can is sent. A disk that takes long to fail is given nine times as long to rest, and with
 * `in_background` every disk half a minute; `*tried` (may be NULL): whether something was read. The
 * session's rc.
 */
int agent_round_retry(struct agent_session *session, bool in_background, bool *tried,
                      struct blx_error *err);

/* Bytes that are dirty or pending and not bad, over all volumes. */
uint64_t agent_round_marked_bytes(const struct agent *agent);
