/*
 * Segments of which much is dead are rewritten (store/rewrite.h) in the background, no faster than
 * `rewrite-rate`: once in each session of an agent, for what an earlier one left, and after each
 * turn of the pruner. One agent at a time. What a restore or a verification keeps is tried again
 * later.
 *
 * Threads: one of its own; start and stop are main()'s. It holds the registry's lock while it looks
 * at the entries, not while it rewrites or logs.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "base/error.h"
#include "dispatcher/registry.h"
#include "dispatcher/threads.h"
#include "store/store.h"

enum { BLX_REWRITER_REST_MS = 10 * 1000 /* between two looks at an agent */ };

struct blx_rewriter {
    struct blx_registry *registry;
    const struct blx_store *store;
    uint64_t bytes_per_second;
    atomic_bool stop;
    struct blx_threads threads;
};

/* Does nothing where `bytes_per_second` is 0. blx_rewriter_stop() may follow in any case. */
int blx_rewriter_start(struct blx_rewriter *rewriter, struct blx_registry *registry,
                       const struct blx_store *store, uint64_t bytes_per_second,
                       struct blx_error *err);

/* Ends it at the next frame; blx_registry_stop() must have been called. -ETIMEDOUT where it is
 * still at work at `deadline_ns`. */
int blx_rewriter_stop(struct blx_rewriter *rewriter, uint64_t deadline_ns);
