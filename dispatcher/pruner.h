/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Retention by itself: after an agent's checkpoint, what the rules for it no longer keep is
 * removed. A chore (chore.h); each agent's turns take at most one twentieth of the time, so that
 * the disk is the sessions'. A verification of the agent puts its turn off.
 */
#pragma once

#include "dispatcher/chore.h"
#include "dispatcher/policy_book.h"
#include "store/store.h"

enum {
    DISPATCHER_PRUNER_REST = 20, /* times as long as a turn took */
    DISPATCHER_PRUNER_WAIT_MS =
        10 * 1000, /* a rewrite gives way sooner, unless it is at a large segment */
    DISPATCHER_PRUNER_RETRY_MS = 60 * 1000
};

struct dispatcher_pruner {
    struct dispatcher_chore chore;
    const struct blx_store *store;
    struct dispatcher_policy_book *book;
};

/* The book says each agent's rules; where it has none, nothing of it is removed. Ended by
 * dispatcher_chore_stop(). */
int dispatcher_pruner_start(struct dispatcher_pruner *pruner, struct dispatcher_registry *registry,
                            const struct blx_store *store, struct dispatcher_policy_book *book,
                            struct blx_error *err);
