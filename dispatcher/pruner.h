/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Automatic retention: after a checkpoint of an agent, the checkpoints that its rules no longer
 * keep are removed. A chore (chore.h). The turns of an agent take at most one twentieth of the
 * time, so that the disk is free for the sessions. While an agent is being verified its turn is put
 * off.
 *
 * New rules are announced before they remove anything, and a prune that would remove far more than
 * usual is held until somebody confirms it (store/prune/brake.h). The roster's record says so.
 */
#pragma once

#include "dispatcher/chore.h"
#include "dispatcher/dispatcher.h"

enum {
    DISPATCHER_PRUNER_REST = 20, /* times the length of a turn */
    DISPATCHER_PRUNER_WAIT_MS =
        10 * 1000, /* a rewrite gives way sooner, unless its segment is large */
    DISPATCHER_PRUNER_RETRY_MS = 60 * 1000
};

struct dispatcher_pruner {
    struct dispatcher_chore chore;
    struct dispatcher *dispatcher; /* borrowed */
    uint64_t grace_ms;             /* how long new rules are announced */
};

/* The dispatcher's book has each agent's rules. An agent without rules keeps every checkpoint.
 * Ended by dispatcher_chore_stop(). */
int dispatcher_pruner_start(struct dispatcher_pruner *pruner, struct dispatcher *dispatcher,
                            uint64_t grace_ms, struct blx_error *err);

/* A turn out of order, in the caller's thread: for an agent that may not have a session before
 * there is room. NULL: there is no pruner. */
void dispatcher_pruner_relieve(struct dispatcher_pruner *pruner, const char *agent_id);
