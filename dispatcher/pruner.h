/*
 * Retention by itself: after an agent's checkpoint, what the rules for it no longer keep
 * is removed. One agent at a time, in a thread of its own, so that no session waits for it; and
 * each agent's turns take at most one twentieth of the time, so that the disk is the sessions'. A
 * verification of the agent puts its turn off.
 *
 * Threads: one of its own; start and stop are main()'s. It holds the registry's lock while it looks
 * at the entries, not while it prunes or logs.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "base/error.h"
#include "dispatcher/policy_book.h"
#include "dispatcher/registry.h"
#include "dispatcher/threads.h"
#include "store/store.h"

enum {
    BLX_PRUNER_REST = 20, /* times as long as a turn took */
    BLX_PRUNER_WAIT_MS =
        10 * 1000, /* a rewrite gives way sooner, unless it is at a large segment */
    BLX_PRUNER_RETRY_MS = 60 * 1000
};

struct blx_pruner {
    struct blx_registry *registry;
    const struct blx_store *store;
    struct blx_policy_book *book;
    atomic_bool stop;
    struct blx_threads threads;
};

/* The book says each agent's rules; where it has none, nothing of it is removed. blx_pruner_stop()
 * must follow only where this succeeded. */
int blx_pruner_start(struct blx_pruner *pruner, struct blx_registry *registry,
                     const struct blx_store *store, struct blx_policy_book *book,
                     struct blx_error *err);

/* Ends it at the next whole step of its work; blx_registry_stop() must have been called. -ETIMEDOUT
 * where it is still at work at `deadline_ns`. */
int blx_pruner_stop(struct blx_pruner *pruner, uint64_t deadline_ns);
