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

struct dispatcher_chore_kind {
    const char *name; /* of who does it, for errors */
    /* With the registry's lock: whether the agent wants a turn, apart from its rest, and the
     * checkpoint that is the reason. */
    bool (*wanted)(const struct dispatcher_registry_entry *entry, blx_timestamp *behind);
    /* Where an entry notes its turns. */
    struct dispatcher_registry_turn *(*turn)(struct dispatcher_registry_entry *entry);
    /* Without the lock. True where nothing is left over; the agent rests for `rest_ns` then or
     * otherwise. */
    bool (*work)(void *arg, const char *agent_id, uint64_t *rest_ns);
};

struct dispatcher_chore {
    const struct dispatcher_chore_kind *kind; /* NULL: it was not started */
    struct dispatcher_registry *registry;
    void *arg;
    atomic_bool stop; /* for `work` to look at */
    struct dispatcher_threads threads;
};

/* `arg` is what `work` gets. */
int dispatcher_chore_start(struct dispatcher_chore *chore, const struct dispatcher_chore_kind *kind,
                           struct dispatcher_registry *registry, void *arg, struct blx_error *err);

/* Ends it at the next whole step of its work; dispatcher_registry_stop() must have been called. -ETIMEDOUT
 * where it is still at work at `deadline_ns`. One that is all zero, or was not started, is
 * ended. */
int dispatcher_chore_stop(struct dispatcher_chore *chore, uint64_t deadline_ns);
