/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `blxrep status` prints for people, for its tests. Private to cli.
 *
 * Threads: one.
 */
#pragma once

#include "cli/agents.h"
#include "cli/screen.h"

/* Sorts the agents, and prints all sentences and the table as the screen wants them. `max_lines` of
 * the table; 0 means no limit. -ENOMEM. */
int cli_status_print(struct cli_agents *agents, const struct cli_screen *screen, size_t max_lines,
                     FILE *out, struct blx_error *err);
