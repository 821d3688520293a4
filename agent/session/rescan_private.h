/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rescan: the digests of what is on the disk are compared with those of what the dispatcher has
 * stored, and what differs becomes pending. It never clears a mark, and the kernel tracks all the
 * time: a block that is equal when it is compared and written to later is dirty by itself.
 *
 * It is a state of the ledger (agent_volume_begin_rescan()), so that an agent that dies goes on at
 * the cursor. Left out are free space, where the user lets us, and what is marked already. Pieces
 * of 1 MiB are compared first, the blocks of those that differ after them. The disk is read on the
 * pipeline's workers, at most 8 MiB at a time, while the dispatcher makes its next digests.
 *
 * Before the first request everything that was claimed is handed to the socket, and that request is
 * FRESH: the image must not be older than a frame that was sent. Otherwise a block that has gone
 * back, unseen, to what the older image holds would look equal while the later frame overrides it.
 * For the same reason nothing is claimed while a rescan runs.
 *
 * Threads: the session's control thread; agent_rescan_answer_locked() is the receiver's.
 */
#pragma once

#include <stdbool.h>

#include "agent/session/session_private.h"

/* Whether a volume's rescan is not done. */
bool agent_rescan_is_active(const struct agent *agent);

/* Runs every volume's rescan to its end. 0, or the session's end (-ECANCELED: the agent stops). */
int agent_rescan_run(struct agent_session *session, struct blx_error *err);

/* DIGESTS came. -EPROTO if they answer nothing that was asked. */
int agent_rescan_answer_locked(struct agent_session *session, const struct blx_digests *digests,
                               struct blx_error *err);
