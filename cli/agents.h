/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All agents of a data directory: as the running dispatcher tells, or else as the store does.
 *
 * Threads: one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "wire/message.h"
#include "wire/protection.h"

struct cli_agents {
    bool running;                             /* a dispatcher has told */
    char note[BLX_ERROR_MESSAGE_BYTES];       /* why none has, or what the store could not tell */
    struct blx_control_dispatcher dispatcher; /* zero unless running */
    struct blx_control_agent *list;           /* owned; by ID */
    size_t count;
    uint64_t now_realtime_ns; /* when they were collected */
};

/* Nothing is printed. Free with cli_agents_done(). */
int cli_agents_collect(const char *data_dir, struct cli_agents *agents, struct blx_error *err);
void cli_agents_done(struct cli_agents *agents);

/* The worst first, then those of which there is something to say, then the oldest checkpoint. */
void cli_agents_sort(struct cli_agents *agents);

/* How many are judged so. */
size_t cli_agents_tally(const struct cli_agents *agents, enum blx_protection protection);
