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
enum blx_event_kind {
    BLX_EVENT_AGENT_LOST,
    BLX_EVENT_DAMAGE_FOUND,
    BLX_EVENT_CHECKPOINT_LATE,
    BLX_EVENT_DISK_NEARLY_FULL,
    BLX_EVENT_CHECKPOINT_INCONSISTENT,
    BLX_EVENT_CHECKPOINT_DAMAGED, /* the agent could not read all of it */
    BLX_EVENT_AGENT_PROTECTED,    /* again */
    BLX_EVENT_DISK_HAS_ROOM,      /* again */
};

/* "agent-lost", "damage-found" and so on. */
const char *blx_event_name(enum blx_event_kind kind);

/* Whether it is the end of a trouble. */
bool blx_event_is_good(enum blx_event_kind kind);

struct blx_event {
    enum blx_event_kind kind;
    char agent_id[BLX_NAME_BYTES]; /* "": the disk */
    char text[BLX_TEXT_BYTES];     /* a sentence's rest */
};

enum { BLX_EVENTS_KEPT = 1000, BLX_EVENTS_TOLD = 100 };

struct blx_event_list {
    struct blx_event *events; /* owned */
    size_t count;
    size_t dropped; /* beyond BLX_EVENTS_KEPT */
};

void blx_event_list_done(struct blx_event_list *list);

/* What was told of an agent last. */
struct blx_event_memory {
    char agent_id[BLX_NAME_BYTES];
    enum blx_protection told;
    uint64_t damages;
};

/* All zero: nothing was told yet, and all is taken to be well. */
struct blx_event_watch {
    struct blx_event_memory *agents; /* owned */
    size_t agent_count;
    bool nearly_full;
};

void blx_event_watch_done(struct blx_event_watch *watch);

/* Appends what has changed since the last look. -ENOMEM: what did not fit will be found again. */
int blx_event_watch_look(struct blx_event_watch *watch, struct blx_roster *roster,
                         const struct blx_overview *overview, uint64_t now_realtime_ns,
                         struct blx_event_list *list);

/*
 * The variables that tell a command of the events, the most pressing first, of which the list is
 * put in order: BLXREP_EVENT, BLXREP_AGENT and BLXREP_TEXT of the first, BLXREP_COUNT of all,
 * BLXREP_EVENTS with a line "NAME AGENT TEXT" for each ("-" for no agent; BLX_EVENTS_TOLD at most).
 * To be freed with blx_event_variables_free(); -ENOMEM. The list is not empty.
 */
enum { BLX_EVENT_VARIABLES = 6 };
int blx_event_variables(struct blx_event_list *list, const char *data_dir,
                        char *variables[BLX_EVENT_VARIABLES]);
void blx_event_variables_free(char *variables[BLX_EVENT_VARIABLES]);
