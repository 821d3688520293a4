/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether an agent is archived: its checkpoints stay, nobody expects new ones, and it may not
 * connect until that is undone. It stands in DIR/agents/ID/archived, with the time of its
 * beginning.
 *
 * Threads: no shared state. All functions block on the disk.
 */
#pragma once

#include "base/timestamp.h"
#include "store/store.h"

/* Durable when it returns. What stands already stays, with its time. */
int blx_archive_begin(struct blx_agent_store agent, blx_timestamp since, struct blx_error *err);

/* Durable when it returns. Does nothing if the agent is not archived. */
int blx_archive_end(struct blx_agent_store agent, struct blx_error *err);

/* Whether it is: 1, with its time, or 0 (then `since` is 0). A file that says nothing of use is an
 * archive since 1970. */
int blx_archive_look(struct blx_agent_store agent, blx_timestamp *since, struct blx_error *err);
