/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How copies elsewhere are shown, as the dispatcher judges them.
 *
 * Threads: no shared state.
 */
#pragma once

#include <stddef.h>
#include <stdio.h>

#include "base/json.h"
#include "cli/agents.h"

/* One line about all, and one for each agent whose copy is late or not locked though it should be,
 * or that somebody else has written to; at most CLI_COPIES_LINES of these. Nothing if no agent is
 * copied. */
enum { CLI_COPIES_LINES = 5 };
void cli_copies_print(const struct cli_agents *agents, FILE *out);

/* How many lines these are. */
size_t cli_copies_count(const struct cli_agents *agents);

/* The line about one agent; nothing if it is not copied. */
void cli_copies_print_one(const struct cli_agents *agents, const char *agent_id, FILE *out);

/* The member "copy" of an object, which is null if the agent is not copied. */
void cli_copies_json(struct blx_json *json, const struct cli_agents *agents, const char *agent_id);
