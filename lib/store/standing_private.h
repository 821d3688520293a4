/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Something that stands in an agent's folder until somebody takes it back, with the time of its
 * beginning: the file DIR/agents/ID/NAME. pause.h and archive.h are what people give. Private to
 * lib/store.
 *
 * Threads: no shared state. All functions block on the disk.
 */
#pragma once

#include "base/timestamp.h"
#include "store/store.h"

/* Durable when it returns. One that stands already stays, with its time. */
int blx_standing_begin(struct blx_agent_store agent, const char *name, blx_timestamp since,
                       struct blx_error *err);

/* Durable when it returns. Does nothing if there is none. */
int blx_standing_end(struct blx_agent_store agent, const char *name, struct blx_error *err);

/* Whether it stands: 1, with its time, or 0 (then `since` is 0). A file that says nothing of use
 * stands since 1970. */
int blx_standing_look(struct blx_agent_store agent, const char *name, blx_timestamp *since,
                      struct blx_error *err);
