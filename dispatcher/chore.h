/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work on the stores of the agents that are connected, in the background: one agent at a time, in a
 * thread of its own, so that no session waits for it. The pruner and the rewriter are chores; each
 * says which agents want it and what is done for one.
 *
 * Threads: one for each chore; start and stop are main()'s. It holds the registry's lock while it
 * looks at the entries, not while it works.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "dispatcher/registry.h"
#include "dispatcher/threads.h"

struct blx_chore_kind {
    const char *name; /* of who does it, for errors */
    /* With the registry's lock: whether the agent wants a turn, apart from its rest, and the
     * checkpoint that is the reason. */
    bool (*wanted)(const struct blx_registry_entry *entry, blx_timestamp *behind);
    /* Where an entry notes its turns. */
    struct blx_registry_turn *(*turn)(struct blx_registry_entry *entry);
    /* Without the lock. True where nothing is left over; the agent rests for `rest_ns` then or
     * otherwise. */
    bool (*work)(void *arg, const char *agent_id, uint64_t *rest_ns);
};

struct blx_chore {
    const struct blx_chore_kind *kind; /* NULL: it was not started */
    struct blx_registry *registry;
    void *arg;
    atomic_bool stop; /* for `work` to look at */
    struct blx_threads threads;
};

/* `arg` is what `work` gets. */
int blx_chore_start(struct blx_chore *chore, const struct blx_chore_kind *kind,
                    struct blx_registry *registry, void *arg, struct blx_error *err);

/* Ends it at the next whole step of its work; blx_registry_stop() must have been called. -ETIMEDOUT
 * where it is still at work at `deadline_ns`. One that is all zero, or was not started, is
 * ended. */
int blx_chore_stop(struct blx_chore *chore, uint64_t deadline_ns);
