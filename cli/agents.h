/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All agents of a data directory: as the running dispatcher reports them, or from the store if no
 * dispatcher runs.
 *
 * Threads: one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "wire/message.h"
#include "wire/protection.h"

struct cli_agents {
    bool running;                             /* a dispatcher runs, and reported them */
    char note[BLX_ERROR_MESSAGE_BYTES];       /* that no dispatcher runs; "" if one does */
    struct blx_control_dispatcher dispatcher; /* zero unless running */
    char stale[BLX_TEXT_BYTES];     /* what its files say and it does not use; "": nothing */
    struct blx_control_agent *list; /* owned; in the order of the IDs */
    size_t count;
    struct blx_control_restore *restores; /* owned; machines that restore now */
    size_t restore_count;
    struct blx_control_handover *handovers; /* owned; agents whose name went to another machine */
    size_t handover_count;
    struct blx_control_host *hosts; /* owned; dispatchers of the data directory, the one that was
                                       asked first; none if it is the only one */
    size_t host_count;
    struct blx_control_place *places; /* owned; agents that another one of them has */
    size_t place_count;
    struct blx_control_copy *copies; /* owned; of the agents that are copied elsewhere */
    size_t copy_count;
    struct blx_control_pulled *pulled; /* owned; agents that are copied, which are not in `list` */
    size_t pulled_count;
    const char *data_dir;     /* borrowed */
    uint64_t now_realtime_ns; /* when they were collected */
};

/* Prints nothing. `agents` is written on success only. Free with cli_agents_done(). */
int cli_agents_collect(const char *data_dir, struct cli_agents *agents, struct blx_error *err);
void cli_agents_done(struct cli_agents *agents);

/* Notes on stderr why the agent is not protected now, if a dispatcher runs and says so: the newest
 * checkpoint may be old. The process acts as the data directory's owner afterwards. */
void cli_agents_note(const char *data_dir, const char *agent_id);

/* The name of the dispatcher that has the agent; NULL: the one that was asked, or none. */
const char *cli_agents_find_place(const struct cli_agents *agents, const char *agent_id);

/* Whether a standby was asked, and told what it had read of the others. */
bool cli_agents_are_of_standby(const struct cli_agents *agents);

/* The worst first; then the agents with a remark; then those with the oldest checkpoint. */
void cli_agents_sort(struct cli_agents *agents);

/* How many agents have this protection. */
size_t cli_agents_tally(const struct cli_agents *agents, enum blx_protection protection);
