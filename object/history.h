/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a depot has of an agent: the names of its checkpoints, and each of them when it is asked
 * for.
 *
 * Threads: one. Waits for the network.
 */
#pragma once

#include <stddef.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "object/depot.h"
#include "store/copy/copied.h"

struct object_history_entry {
    blx_timestamp timestamp;
    uint8_t hash[BLX_COPIED_HASH_BYTES];
    time_t written; /* when the depot got it; 0: it does not say */
};

struct object_history {
    struct object_history_entry *entries; /* owned; ascending; of one timestamp the oldest first */
    size_t count;
};

/* An agent that the depot does not have has no checkpoints. */
int object_history_list(struct object_depot *depot, const char *agent_id,
                        struct object_history *history, struct blx_error *err);
void object_history_done(struct object_history *history);
#define OBJECT_CLEANUP_HISTORY BLX_CLEANUP(object_history_done)

/* -ENOENT; -EBADMSG: it is not what its name says. Free with blx_copied_done(). */
int object_history_read(struct object_depot *depot, const char *agent_id,
                        const struct object_history_entry *entry, struct blx_copied *copied,
                        struct blx_error *err);
