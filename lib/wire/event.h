/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events, which a person should know about, and the variables that tell a command about them. The
 * dispatcher notices them and runs the command; `blxrep dispatcher test-event` runs it to see it
 * work.
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
enum blx_event_kind {
    BLX_EVENT_STORE_FAILS, /* the store takes nothing, whatever agent it is */
    BLX_EVENT_AGENT_LOST,
    BLX_EVENT_AGENT_NOT_STORED, /* it takes nothing of this one */
    BLX_EVENT_DAMAGE_FOUND,
    BLX_EVENT_HISTORY_GONE,    /* the store has lost the newest checkpoints of the agent */
    BLX_EVENT_MACHINE_REFUSED, /* its old machine came; another one has restored it */
    BLX_EVENT_CHECKPOINT_LATE,
    BLX_EVENT_DISK_NEARLY_FULL,
    BLX_EVENT_QUOTA_REACHED,   /* the agent is refused until there is room */
    BLX_EVENT_AGENTS_KEPT_OUT, /* connections of strangers take every place */
    BLX_EVENT_CHECKPOINT_INCONSISTENT,
    BLX_EVENT_CHECKPOINT_DAMAGED, /* the agent could not read all of it */
    BLX_EVENT_SUSPICIOUS,         /* a checkpoint looks as if data had been encrypted */
    BLX_EVENT_TEST_FAILED,        /* of the newest checkpoint that was tested */
    BLX_EVENT_COPY_LATE,          /* a checkpoint waits for its copy elsewhere */
    BLX_EVENT_COPY_NOT_LOCKED,    /* a lock is configured, and does not hold */
    BLX_EVENT_COPY_STRANGE,       /* somebody else's checkpoints are in the copy */
    BLX_EVENT_PRUNE_HELD,         /* retention waits: it is new, or removes far too much */
    BLX_EVENT_QUOTA_NEAR,         /* it will be soon */
    BLX_EVENT_CERTIFICATE_ENDS,   /* the CA's, the dispatcher's or an agent's */
    BLX_EVENT_HOOK_FAILED,        /* a checkpoint's pre-freeze or post-thaw command */
    BLX_EVENT_CLOCK_OFF,          /* the agent's clock is minutes off */
    BLX_EVENT_AGENT_PROTECTED,    /* it is well again */
    BLX_EVENT_COPY_IN_TIME,       /* the copies go on again */
    BLX_EVENT_COPY_LOCKED,        /* they are locked again */
    BLX_EVENT_STORE_WORKS,        /* the store takes data again */
    BLX_EVENT_DISK_HAS_ROOM,      /* there is room again */
    BLX_EVENT_AGENTS_LET_IN,      /* there are places again */
};

enum { BLX_EVENT_KINDS = BLX_EVENT_AGENTS_LET_IN + 1 };

/* "agent-lost", "damage-found" and so on. */
const char *blx_event_name(enum blx_event_kind kind);

/* Its MESSAGE_ID in the journal, which never changes. */
const char *blx_event_message_id(enum blx_event_kind kind);

/* Whether the event is the end of a trouble. */
bool blx_event_is_good(enum blx_event_kind kind);

enum { BLX_EVENT_TEXT_BYTES = 512 };

struct blx_event {
    enum blx_event_kind kind;
    char agent_id[BLX_NAME_BYTES];   /* "": the disk */
    char text[BLX_EVENT_TEXT_BYTES]; /* the rest of a sentence */
};

enum { BLX_EVENTS_KEPT = 1000, BLX_EVENTS_TOLD = 100 };

struct blx_event_list {
    struct blx_event *events; /* owned */
    size_t count;
    size_t dropped; /* beyond BLX_EVENTS_KEPT */
};

void blx_event_list_done(struct blx_event_list *list);

/* Appends an event, or counts it as dropped. -ENOMEM. */
int blx_event_list_add(struct blx_event_list *list, enum blx_event_kind kind, const char *agent_id,
                       const char *text);

enum { BLX_EVENT_VARIABLES = 6 };

/*
 * The environment variables that tell a command about the events. The list must not be empty, and
 * is sorted here, the most pressing event first. BLXREP_EVENT, BLXREP_AGENT and BLXREP_TEXT
 * describe the first event, BLXREP_COUNT counts all, BLXREP_DATA_DIR is `data_dir`. BLXREP_EVENTS
 * has a line "NAME AGENT TEXT" for each event, at most BLX_EVENTS_TOLD of them; AGENT is "-"
 * if there is none. -ENOMEM.
 */
int blx_event_make_variables(struct blx_event_list *list, const char *data_dir,
                             char *variables[BLX_EVENT_VARIABLES]);
void blx_event_free_variables(char *variables[BLX_EVENT_VARIABLES]);
