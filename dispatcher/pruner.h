/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Automatic retention: after a checkpoint of an agent, the checkpoints that its rules no longer
 * keep are removed. A chore (chore.h). The turns of an agent take at most one twentieth of the
 * time, so that the disk is free for the sessions. While an agent is being verified its turn is put
 * off.
 */
#pragma once

#include "dispatcher/chore.h"
#include "dispatcher/policy_book.h"
#include "store/store.h"

enum {
    DISPATCHER_PRUNER_REST = 20, /* times the length of a turn */
    DISPATCHER_PRUNER_WAIT_MS =
        10 * 1000, /* a rewrite gives way sooner, unless its segment is large */
    DISPATCHER_PRUNER_RETRY_MS = 60 * 1000
};

struct dispatcher_pruner {
    struct dispatcher_chore chore;
    const struct blx_store *store;
    struct dispatcher_policy_book *book;
};

/* `book` has each agent's rules. An agent without rules keeps every checkpoint. Ended by
 * dispatcher_chore_stop(). */
int dispatcher_pruner_start(struct dispatcher_pruner *pruner, struct dispatcher_registry *registry,
                            const struct blx_store *store, struct dispatcher_policy_book *book,
                            struct blx_error *err);
