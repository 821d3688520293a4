/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rewrites segments that are mostly dead (store/prune/rewrite.h) in the background, no faster than
 * `rewrite-rate`. An agent has a turn once in each session, for the segments of an earlier session,
 * and after each turn of the pruner. A chore (chore.h). A segment that a restore or a verification
 * holds is tried again later.
 */
#pragma once

#include "dispatcher/chore.h"
#include "store/store.h"

enum { DISPATCHER_REWRITER_REST_MS = 10 * 1000 /* between two looks at an agent */ };

struct dispatcher_rewriter {
    struct dispatcher_chore chore;
    const struct blx_store *store;
    uint64_t bytes_per_second;
};

/* `bytes_per_second` is not 0. Ended by dispatcher_chore_stop(). */
int dispatcher_rewriter_start(struct dispatcher_rewriter *rewriter,
                              struct dispatcher_registry *registry, const struct blx_store *store,
                              uint64_t bytes_per_second, struct blx_error *err);
