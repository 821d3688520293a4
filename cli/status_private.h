/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `blxrep status` prints for people, for its tests. Private to cli.
 *
 * Threads: one.
 */
#pragma once

#include "base/json.h"
#include "cli/agents.h"
#include "cli/command.h"
#include "cli/screen.h"
#include "cli/self.h"

enum { CLI_STATUS_PERIOD_MS = 2000 }; /* of --watch */

/* Sorts the agents, and prints all sentences and the table as the screen wants them. `max_lines` of
 * the table; 0 means no limit. -ENOMEM. */
int cli_status_print(struct cli_agents *agents, const struct cli_screen *screen, size_t max_lines,
                     FILE *out, struct blx_error *err);

/* status_self.c: the same on a protected server, asked of its agent. */
enum blx_exit cli_status_self(const struct cli_request *request, struct blx_error *err);
int cli_status_print_self(const struct cli_self *self, const struct cli_screen *screen, FILE *out,
                          struct blx_error *err);

/* The members "protected", "protection", "why" and "judgement". */
void cli_status_judgement_json(struct blx_json *json, const struct blx_judgement *judgement);

/* The escape sequence that colours an agent with this protection. */
const char *cli_status_colour(enum blx_protection protection);
