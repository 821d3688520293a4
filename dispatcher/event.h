/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events, which a person should know about, and the variables that tell a command about them.
 * event_watch.h notices events, events.h runs the command.
 *
 * Threads: one at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/name.h"
#include "wire/message.h"

/* From the most pressing trouble to the end of one. */
enum dispatcher_event_kind {
    DISPATCHER_EVENT_STORE_FAILS, /* the store takes nothing, whatever agent it is */
    DISPATCHER_EVENT_AGENT_LOST,
    DISPATCHER_EVENT_AGENT_NOT_STORED, /* it takes nothing of this one */
    DISPATCHER_EVENT_DAMAGE_FOUND,
    DISPATCHER_EVENT_HISTORY_GONE, /* the store has lost the newest checkpoints of the agent */
    DISPATCHER_EVENT_CHECKPOINT_LATE,
    DISPATCHER_EVENT_DISK_NEARLY_FULL,
    DISPATCHER_EVENT_QUOTA_REACHED,   /* the agent is refused until there is room */
    DISPATCHER_EVENT_AGENTS_KEPT_OUT, /* connections of strangers take every place */
    DISPATCHER_EVENT_CHECKPOINT_INCONSISTENT,
    DISPATCHER_EVENT_CHECKPOINT_DAMAGED, /* the agent could not read all of it */
    DISPATCHER_EVENT_PRUNE_HELD,         /* retention waits: it is new, or removes far too much */
    DISPATCHER_EVENT_QUOTA_NEAR,         /* it will be soon */
    DISPATCHER_EVENT_CERTIFICATE_ENDS,   /* the CA's, the dispatcher's or an agent's */
    DISPATCHER_EVENT_HOOK_FAILED,        /* a checkpoint's pre-freeze or post-thaw command */
    DISPATCHER_EVENT_CLOCK_OFF,          /* the agent's clock is minutes off */
    DISPATCHER_EVENT_AGENT_PROTECTED,    /* it is well again */
    DISPATCHER_EVENT_STORE_WORKS,        /* the store takes data again */
    DISPATCHER_EVENT_DISK_HAS_ROOM,      /* there is room again */
    DISPATCHER_EVENT_AGENTS_LET_IN,      /* there are places again */
};

enum { DISPATCHER_EVENT_KINDS = DISPATCHER_EVENT_AGENTS_LET_IN + 1 };

/* "agent-lost", "damage-found" and so on. */
const char *dispatcher_event_name(enum dispatcher_event_kind kind);

/* Its MESSAGE_ID in the journal, which never changes. */
const char *dispatcher_event_message_id(enum dispatcher_event_kind kind);

/* Whether the event is the end of a trouble. */
bool dispatcher_event_is_good(enum dispatcher_event_kind kind);

enum { DISPATCHER_EVENT_TEXT_BYTES = 512 };

struct dispatcher_event {
    enum dispatcher_event_kind kind;
    char agent_id[BLX_NAME_BYTES];          /* "": the disk */
    char text[DISPATCHER_EVENT_TEXT_BYTES]; /* the rest of a sentence */
};

enum { DISPATCHER_EVENTS_KEPT = 1000, DISPATCHER_EVENTS_TOLD = 100 };

struct dispatcher_event_list {
    struct dispatcher_event *events; /* owned */
    size_t count;
    size_t dropped; /* beyond DISPATCHER_EVENTS_KEPT */
};

void dispatcher_event_list_done(struct dispatcher_event_list *list);

/* Appends an event, or counts it as dropped. -ENOMEM. */
int dispatcher_event_list_add(struct dispatcher_event_list *list, enum dispatcher_event_kind kind,
                              const char *agent_id, const char *text);

enum { DISPATCHER_EVENT_VARIABLES = 6 };

/*
 * The environment variables that tell a command about the events. The list must not be empty, and
 * is sorted here, the most pressing event first. BLXREP_EVENT, BLXREP_AGENT and BLXREP_TEXT
 * describe the first event, BLXREP_COUNT counts all, BLXREP_DATA_DIR is `data_dir`. BLXREP_EVENTS
 * has a line "NAME AGENT TEXT" for each event, at most DISPATCHER_EVENTS_TOLD of them; AGENT is "-"
 * if there is none. -ENOMEM.
 */
int dispatcher_event_make_variables(struct dispatcher_event_list *list, const char *data_dir,
                                    char *variables[DISPATCHER_EVENT_VARIABLES]);
void dispatcher_event_free_variables(char *variables[DISPATCHER_EVENT_VARIABLES]);
