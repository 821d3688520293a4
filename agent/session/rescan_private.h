/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rescan: digests of the blocks on the disk are compared with digests of the blocks that the
 * dispatcher has stored. Blocks that differ become pending. A rescan never clears a mark, and the
 * kernel tracks all the time: a block that is equal when it is compared and written to later is
 * dirty without our doing.
 *
 * It is a state of the ledger (agent_volume_begin_rescan()), so that an agent that dies goes on at
 * the cursor. Blocks that are marked already are left out, and free space if the user allows it.
 * Pieces of 1 MiB are compared first, then the blocks of pieces that differ. The pipeline's workers
 * read the disk, at most 8 MiB at a time, while the dispatcher makes its next digests.
 *
 * Before the first request everything that was claimed is handed to the socket, and that request is
 * FRESH: the image must not be older than a frame that was sent. Otherwise a block could go back,
 * unseen, to its content in the older image. It would look equal, while the later frame overrides
 * it. For the same reason nothing is claimed while a rescan runs.
 *
 * Threads: the session's control thread; agent_rescan_answer_locked() is the receiver's.
 */
#pragma once

#include <stdbool.h>

#include "agent/session/rounds_private.h"
#include "agent/session/session_private.h"

/* Whether the rescan of a volume that is not apart is not done. */
bool agent_rescan_is_active(const struct agent_session *session);

/* Runs every such rescan to its end; if it yields, until a checkpoint is wanted, and the next call
 * goes on. 0, or why the session ends (-ECANCELED: the agent stops). */
int agent_rescan_run(struct agent_session *session, enum agent_round_end end,
                     struct blx_error *err);

/* DIGESTS came. -EPROTO if they answer nothing that was asked. */
int agent_rescan_answer_locked(struct agent_session *session, const struct blx_digests *digests,
                               struct blx_error *err);

/*
 * The dispatcher may have asked for a rescan, which begins then. One that is under way begins
 * again: the blocks to be compared may be among those that it has done. But a dispatcher that was
 * broken into shall not keep the server's disks busy for ever: a rescan beyond a bucket of them
 * waits, and checkpoints go on. The control thread's.
 */
void agent_rescan_take_order(struct agent_session *session);
