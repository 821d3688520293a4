/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies an agent's checkpoints from the store into a depot.
 *
 *     list what the depot has ──► for each newer checkpoint: segments ──► its own object, last
 *
 * A copy that is interrupted anywhere leaves objects that no checkpoint names. The next one finds
 * them by their hash and does not send them again.
 *
 * With a lock each object is locked until the checkpoint's lock ends, and those that it shares with
 * older ones are locked on: an increment of today needs a base of last year. They get a quarter
 * more, so that this is done once in a while and not with each checkpoint.
 *
 * Threads: one. Waits for the disk and the network.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/timestamp.h"
#include "object/depot.h"
#include "store/copy/copied.h"
#include "store/store.h"

struct object_copy_request {
    const struct blx_store *store;
    struct object_depot *depot;
    enum blx_object_lock lock; /* NONE: nothing is locked */
    uint64_t lock_ms;
    uint64_t every_ms; /* the least time between two copied checkpoints; 0: all are copied */
    int64_t copied_s;  /* when the newest one of the depot was copied; 0: by its name */
};

struct object_copy_report {
    uint64_t checkpoints;    /* that were copied */
    uint64_t objects, bytes; /* that were sent */
    uint64_t spared_bytes;   /* that were there already */
    uint64_t relocked;       /* objects that were locked on */
    blx_timestamp newest;    /* that the depot has now; 0: none */
    int64_t locked_until_s;  /* of the newest, if it was copied now: the least of all that it needs;
                                0: not locked */
    uint64_t whole;          /* volumes that were copied from their base on */
    enum blx_copied_lock lock;             /* the weakest of all that it needs */
    char refused[BLX_ERROR_MESSAGE_BYTES]; /* a lock that the depot did not give; "": it gave all */
    /* Checkpoints there that this store did not copy, and are newer than those that it did: of a
     * data directory that was set back, or forged. They do not count as copied. */
    uint64_t strange_count;
    blx_timestamp strange_newest;
};

enum object_copy_age { OBJECT_COPY_OLDER, OBJECT_COPY_NEWEST };

/* Whether the checkpoint is far enough from the last one that was copied, of which `last_s` is the
 * time (0: there is none). For the newest that time goes on until now: perhaps no other one
 * comes. */
bool object_copy_is_due(blx_timestamp checkpoint, int64_t last_s, uint64_t every_ms,
                        enum object_copy_age age);

/* Adds to the report. -EBUSY if another copy of the agent is under way. */
int object_copy_agent(const struct object_copy_request *request, const char *agent_id,
                      struct object_copy_report *report, struct blx_error *err);
