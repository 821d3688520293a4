/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is to be planned (plan.h): all agents of the store, the rules for their tests as the
 * dispatcher has them in force, and what their checkpoints' records say.
 *
 * Threads: one. Blocks on the store's disk and on the dispatcher.
 */
#pragma once

#include "proof/plan.h"
#include "store/store.h"

struct proof_candidates {
    struct proof_plan_agent *list; /* owned */
    size_t count;
};

/* Looks again. An agent that stays keeps what only the caller knows: not_before, running, and a
 * later `begun`. Agents without rules for tests are not listed, unless a test of theirs runs.
 * -ENOTCONN if no dispatcher runs; other errors of the store or the dispatcher; the list is the old
 * one then. */
int proof_candidates_look(struct proof_candidates *candidates, const struct blx_store *store,
                          struct blx_error *err);
void proof_candidates_done(struct proof_candidates *candidates);

/* NULL: it is not listed. */
struct proof_plan_agent *proof_candidates_find(const struct proof_candidates *candidates,
                                               const char *agent_id);
