/*
 * A round: one pass over the bitmaps of all volumes that sends what a claim finds. Background work,
 * a full pass, and the pre-copy of a checkpoint are rounds.
 *
 * Threads: the session's control thread. Waits for the pipeline, and so for the network.
 */
#pragma once

#include <stdbool.h>

#include "agent/session.h"

/*
 * Sends every claimed block of every volume. With `yield` it ends early where a checkpoint is asked
 * for. Frames may still be on their way when it returns: blx_session_drain(). The session's rc.
 */
int blx_round_send(struct blx_session *session, enum blx_claim kind, bool yield,
                   struct blx_error *err);

/* Bytes that are dirty or pending, over all volumes. */
uint64_t blx_round_marked_bytes(const struct blx_agent *agent);
