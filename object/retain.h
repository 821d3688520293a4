/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The retention of copies, which is their own: rules as for the data directory
 * (store/prune/retention.h), applied to what the depot has.
 *
 *     read all checkpoints ──► remove those that no rule keeps ──► remove what no other one needs
 *
 * What is locked is not tried. A checkpoint goes before what it needs, so one that is listed is
 * whole, whenever this ends. An object goes only if no checkpoint that is left names it, and if it
 * has lain there for a day: an interrupted copy's are found again. If a checkpoint cannot be read
 * for any other reason than that none of its versions is what its name says, nothing is removed.
 *
 * Threads: one. Waits for the network. Memory: 32 bytes for each object that a checkpoint names.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "object/depot.h"
#include "store/prune/retention.h"
#include "store/store.h"

struct object_retain_request {
    const struct blx_store *store;
    struct object_depot *depot;
    const struct blx_retention *retention;
    blx_timestamp
        newest;       /* of this store's copies: later ones are strange, and neither use a rule's
                             place nor go */
    int64_t orphan_s; /* for how long an object that nobody needs stays; OBJECT_ORPHAN_S */
};

enum { OBJECT_ORPHAN_S = 24 * 3600 };

struct object_retain_report {
    uint64_t checkpoints; /* that were removed */
    uint64_t objects;
    uint64_t locked; /* checkpoints and objects that no rule keeps, and a lock does */
};

/* Adds to the report. -EBUSY if a copy of the agent is under way. */
int object_retain_agent(const struct object_retain_request *request, const char *agent_id,
                        struct object_retain_report *report, struct blx_error *err);
