/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Volumes whose pass is under way, so that checkpoints are taken without them: a disk that was
 * added, or is compared, does not stop the checkpoints of the others.
 *
 *     IN STEP ---- a full pass or a rescan begins ----> APART
 *     APART   ---- all of it was sent once ------------> IN STEP
 *
 * A pass that ends soon is waited for: half a period, ten seconds at most, counted from the pass's
 * beginning or the session's. So the first checkpoint of small disks has all of them.
 *
 * After a checkpoint the passes that it left out get as long as it took, half a second at least and
 * ten seconds at most, before the next one begins. So they end, however often one is asked for.
 *
 * Who is apart is chosen when a checkpoint begins, and again before each of its attempts. It is
 * never all of them: a checkpoint that would have no volume does not begin before one has ended its
 * pass. With a dispatcher that does not know LEAVE OUT nobody is apart, and a checkpoint waits for
 * all passes.
 *
 * Threads: the session's control thread.
 */
#pragma once

#include <stdbool.h>

#include "agent/session/session_private.h"

/* Whether the running checkpoint is taken without the volume. */
bool agent_apart_is(const struct agent_session *session, size_t volume);

/* Whether a checkpoint can begin now: it would have a volume, or has to wait for the passes. */
bool agent_apart_can_begin(const struct agent_session *session);

/* Whether a checkpoint can begin now and leaves out whoever is passing: only then does it help to
 * interrupt a pass for it. */
bool agent_apart_can_leave_out(const struct agent_session *session);

/* Whether it is the turn of the passes that the last checkpoint left out. */
bool agent_apart_has_share(const struct agent_session *session);

/* For the checkpoint that begins, or its next attempt. */
void agent_apart_choose(struct agent_session *session);

/* The checkpoint is over: nobody is apart. */
void agent_apart_end(struct agent_session *session);

/* Adds to the note which disks the checkpoint lacks, and how far they are. BLX_CUT_LACKS_FIRST_PASS
 * if one of them was in no checkpoint yet, otherwise 0. */
uint32_t agent_apart_note(const struct agent_session *session, char note[BLX_TEXT_BYTES]);

/* How many blocks the pass that is under way has, and how many of them are done; 0: none is. */
uint64_t agent_apart_measure_pass(const struct agent_volume *volume, uint64_t marked_blocks,
                                  uint64_t *done_blocks);
