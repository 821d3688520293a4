/*
 * A checkpoint, from the request to the commit message (design, "A checkpoint"):
 *
 *     what could not be read before is tried again; what still cannot is named with the checkpoint
 *     a rescan that is under way comes to its end
 *     pre-copy rounds, until what is left can be read within the freeze budget or rounds stop
 * helping syncfs, and rounds again: what syncfs wrote is dirty now drain: nothing is in flight any
 * more the cut (cut.h); an attempt that did not stand is sent as pre-copy and tried again, with
 * back-off the cut's frames, then CHECKPOINT; the dispatcher's DONE comes to the receiver
 *
 * Threads: the session's control thread.
 */
#pragma once

#include "agent/session.h"

/*
 * 0 also where no checkpoint could be made: the dispatcher then gets CHECKPOINT_FAILED with the
 * reason. Otherwise the session's end, or -ESTALE where a device is not what it was.
 */
int blx_checkpoint_take(struct blx_session *session, uint64_t request, struct blx_error *err);
