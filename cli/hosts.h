/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dispatchers of a data directory, as `status` shows them.
 *
 * Threads: one.
 */
#pragma once

#include <stdio.h>

#include "cli/agents.h"

/* Prints a line for each, if there are more than one or the one that was asked is a standby.
 * Returns how many. `out` NULL: only counts them. */
size_t cli_hosts_print(const struct cli_agents *agents, FILE *out);
