/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Background work on the stores of connected agents: one agent at a time, in a thread of its own,
 * so that no session waits for it. The pruner and the rewriter are chores. Each decides which
 * agents want a turn, and does the work for one.
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
    const char *name; /* of the chore, for errors */
    /* With the registry's lock: whether the agent wants a turn, apart from its rest, and the
     * checkpoint that is the reason. */
    bool (*is_wanted_locked)(const struct dispatcher_registry_entry *entry, blx_timestamp *reason);
    /* With the registry's lock: the part of an entry that notes this chore's turns. */
    struct dispatcher_registry_turn *(*find_turn_locked)(struct dispatcher_registry_entry *entry);
    /* Without the lock. True if nothing is left over. In either case the agent rests for `rest_ns`
     * afterwards. */
    bool (*work)(void *arg, const char *agent_id, uint64_t *rest_ns);
};

struct dispatcher_chore {
    /* Constant while its thread runs; filled by dispatcher_chore_start(). */
    const struct dispatcher_chore_kind *kind; /* NULL: it was not started */
    struct dispatcher_registry *registry;
    void *arg;

    atomic_bool stop;                  /* set by main(), read by `work` */
    struct dispatcher_threads threads; /* one; main()'s */
};

/* `arg` is passed to `work`. */
int dispatcher_chore_start(struct dispatcher_chore *chore, const struct dispatcher_chore_kind *kind,
                           struct dispatcher_registry *registry, void *arg, struct blx_error *err);

/* Ends it after the current step of its work; dispatcher_registry_stop() must have been called.
 * -ETIMEDOUT if it is still at work at `deadline_ns`. A chore that is all zero, or was not started,
 * has ended. */
int dispatcher_chore_stop(struct dispatcher_chore *chore, uint64_t deadline_ns);
