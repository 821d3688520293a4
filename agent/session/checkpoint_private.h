/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A checkpoint, from the request to the commit message (design, "A checkpoint"):
 *
 *     retry        blocks that could not be read before; the checkpoint names those that still fail
 *     apart        volumes whose pass is under way are left out (apart_private.h); if there is no
 *                  other volume, their rescans and passes are finished first
 *     pre-copy     rounds, until the rest fits the freeze budget or rounds stop helping
 *     syncfs       and rounds again: the blocks that syncfs wrote are dirty now
 *     drain        until no block is in flight
 *     cut          (cut_private.h); if an attempt fails its blocks are sent as pre-copy, and the
 *                  cut is tried again, with back-off
 *     send         the cut's frames, then CHECKPOINT; the receiver gets the dispatcher's DONE
 *
 * Threads: the session's control thread.
 */
#pragma once

#include "agent/session/session_private.h"

/*
 * 0 also if no checkpoint could be made: the dispatcher then gets CHECKPOINT_FAILED with the
 * reason. Otherwise why the session ends, or -ESTALE if a device was resized, replaced or is gone.
 */
int agent_checkpoint_take(struct agent_session *session, uint64_t request, struct blx_error *err);
