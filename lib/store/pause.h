/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether an agent is paused: it gives no checkpoints and no data until it is resumed. The pause
 * stands in DIR/agents/ID/paused, with the time of its beginning, so that it outlives the
 * dispatcher and can be given while none runs.
 *
 * Threads: no shared state. All functions wait for the disk.
 */
#pragma once

#include "base/timestamp.h"
#include "store/store.h"

/* Durable when it returns. A pause that stands already stays, with its time. */
int blx_pause_begin(struct blx_agent_store agent, blx_timestamp since, struct blx_error *err);

/* Durable when it returns. Does nothing if there is no pause. */
int blx_pause_end(struct blx_agent_store agent, struct blx_error *err);

/* Whether one stands: 1, with its time, or 0 (then `since` is 0). A file that says nothing of use
 * is a pause, since 1970. */
int blx_pause_look(struct blx_agent_store agent, blx_timestamp *since, struct blx_error *err);
