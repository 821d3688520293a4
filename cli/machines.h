/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How other machines are shown: those that restore an agent now, the one that its name went to, and
 * the dispatcher that an agent is copied from.
 *
 * Threads: no shared state.
 */
#pragma once

#include <stddef.h>
#include <stdio.h>

#include "base/json.h"
#include "cli/agents.h"

/* A line for each, of the agent; NULL: of every agent. */
void cli_machines_print(const struct cli_agents *agents, const char *agent_id, FILE *out);

/* How many lines these are. */
size_t cli_machines_count(const struct cli_agents *agents);

/* The members "restores" and "handover" (or null) of an object: those of the agent. */
void cli_machines_json(struct blx_json *json, const struct cli_agents *agents,
                       const char *agent_id);

/* An object for each agent that is copied. */
void cli_machines_pulled_json(struct blx_json *json, const struct cli_agents *agents);
