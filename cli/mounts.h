/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How mounts (store/mounts.h) are shown.
 *
 * Threads: no shared state.
 */
#pragma once

#include <stddef.h>
#include <stdio.h>

#include "base/json.h"

/* How many mounts the data directory has. */
size_t cli_mounts_count(const char *data_dir);

/* A line for each mount of the agent; NULL: of every agent. */
void cli_mounts_print(const char *data_dir, const char *agent_id, FILE *out);

/* The member "mounts" of an object: those of the agent. */
void cli_mounts_json(struct blx_json *json, const char *data_dir, const char *agent_id);
