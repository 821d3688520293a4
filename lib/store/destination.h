/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dispatcher to which an agent is to go, if several share the data directory: its name
 * (member.h) in DIR/agents/ID/dispatcher. `blxrep dispatcher move` writes it. The others refuse the
 * agent while that one runs. An agent without it stays where it connects.
 *
 * Threads: no shared state. All functions wait for the disk.
 */
#pragma once

#include "base/error.h"
#include "base/name.h"
#include "store/store.h"

/* `host` NULL: it may go anywhere. Durable when it returns. */
int blx_destination_set(struct blx_agent_store agent, const char *host, struct blx_error *err);

/* 1, with the name, or 0 (then `host` is empty), also for a file that has no name. */
int blx_destination_look(struct blx_agent_store agent, char host[BLX_NAME_BYTES],
                         struct blx_error *err);
