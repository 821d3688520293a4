/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What has happened between two looks at the overview, and how a command is told. Nothing here
 * runs anything or logs.
 *
 * Threads: one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dispatcher/overview.h"
#include "wire/protection.h"

/* From what is most pressing to what is none. */
enum dispatcher_event_kind {
    DISPATCHER_EVENT_AGENT_LOST,
    DISPATCHER_EVENT_DAMAGE_FOUND,
    DISPATCHER_EVENT_CHECKPOINT_LATE,
    DISPATCHER_EVENT_DISK_NEARLY_FULL,
    DISPATCHER_EVENT_CHECKPOINT_INCONSISTENT,
    DISPATCHER_EVENT_CHECKPOINT_DAMAGED, /* the agent could not read all of it */
    DISPATCHER_EVENT_AGENT_PROTECTED,    /* again */
    DISPATCHER_EVENT_DISK_HAS_ROOM,      /* again */
};

/* "agent-lost", "damage-found" and so on. */
const char *dispatcher_event_name(enum dispatcher_event_kind kind);

/* Whether it is the end of a trouble. */
bool dispatcher_event_is_good(enum dispatcher_event_kind kind);

struct dispatcher_event {
    enum dispatcher_event_kind kind;
    char agent_id[BLX_NAME_BYTES]; /* "": the disk */
    char text[BLX_TEXT_BYTES];     /* a sentence's rest */
};

enum { DISPATCHER_EVENTS_KEPT = 1000, DISPATCHER_EVENTS_TOLD = 100 };

struct dispatcher_event_list {
    struct dispatcher_event *events; /* owned */
    size_t count;
    size_t dropped; /* beyond DISPATCHER_EVENTS_KEPT */
};

void dispatcher_event_list_done(struct dispatcher_event_list *list);

/* What was told of an agent last. */
struct dispatcher_event_memory {
    char agent_id[BLX_NAME_BYTES];
    enum blx_protection told;
    uint64_t damages;
};

/* All zero: nothing was told yet, and all is taken to be well. */
struct dispatcher_event_watch {
    struct dispatcher_event_memory *agents; /* owned */
    size_t agent_count;
    bool nearly_full;
};

void dispatcher_event_watch_done(struct dispatcher_event_watch *watch);

/* Appends what has changed since the last look. -ENOMEM: what did not fit will be found again. */
int dispatcher_event_watch_look(struct dispatcher_event_watch *watch,
                                struct dispatcher_roster *roster,
                                const struct dispatcher_overview *overview,
                                uint64_t now_realtime_ns, struct dispatcher_event_list *list);

/*
 * The variables that tell a command of the events, the most pressing first, of which the list is
 * put in order: BLXREP_EVENT, BLXREP_AGENT and BLXREP_TEXT of the first, BLXREP_COUNT of all,
 * BLXREP_EVENTS with a line "NAME AGENT TEXT" for each ("-" for no agent; DISPATCHER_EVENTS_TOLD at
 * most). To be freed with dispatcher_event_variables_free(); -ENOMEM. The list is not empty.
 */
enum { DISPATCHER_EVENT_VARIABLES = 6 };
int dispatcher_event_variables(struct dispatcher_event_list *list, const char *data_dir,
                               char *variables[DISPATCHER_EVENT_VARIABLES]);
void dispatcher_event_variables_free(char *variables[DISPATCHER_EVENT_VARIABLES]);
