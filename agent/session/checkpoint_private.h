/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A checkpoint, from the request to the commit message (design, "A checkpoint"):
 *
 *     retry        blocks that could not be read before; what still fails is named in the checkpoint
 *     rescan       one that is under way is finished first
 *     pre-copy     rounds, until the rest can be read within the freeze budget or rounds stop helping
 *     syncfs       and rounds again: what syncfs wrote is dirty now
 *     drain        until nothing is in flight
 *     cut          (cut_private.h); if an attempt does not stand, its blocks are sent as pre-copy and the
 *                  cut is tried again, with back-off
 *     send         the cut's frames, then CHECKPOINT; the receiver gets the dispatcher's DONE
 *
 * Threads: the session's control thread.
 */
#pragma once

#include "agent/session/session_private.h"

/*
 * 0 also where no checkpoint could be made: the dispatcher then gets CHECKPOINT_FAILED with the
 * reason. Otherwise the session's end, or -ESTALE where a device is not what it was.
 */
int agent_checkpoint_take(struct agent_session *session, uint64_t request, struct blx_error *err);
