/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A standing order to an agent: compare all volumes with their stored content. It stands in
 * DIR/agents/ID/rescan, with its reason, until the agent has begun to compare. So it outlives the
 * dispatcher, and waits for an agent that is away. People give it, and so does `verify` if the
 * damage that it found would hurt the next checkpoint, too.
 *
 * Threads: no shared state. All functions wait for the disk.
 */
#pragma once

#include "store/store.h"
#include "wire/message.h"

/* Durable when it returns. An order that stands already stays, with its reason. */
int blx_rescan_order_give(struct blx_agent_store agent, const char *reason, struct blx_error *err);

/* Whether one stands: 1, with its reason, or 0. */
int blx_rescan_order_look(struct blx_agent_store agent, char reason[BLX_TEXT_BYTES],
                          struct blx_error *err);

/* The agent has begun. Need not be durable: told twice, it compares twice. */
int blx_rescan_order_done(struct blx_agent_store agent, struct blx_error *err);
