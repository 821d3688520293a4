/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies checkpoints in the background by `blxrep-copy copy`, a process of its own, since it alone
 * has the credentials: into the configured object store, or from the configured other dispatcher
 * (`source`). It runs at the start and then `every` so often, takes what is due of all agents, and
 * says in the log what it did. If it fails it is tried again earlier. What has come from a source
 * is then pruned by this dispatcher's rules. If several dispatchers share the data directory, the
 * keeper of them copies (neighbours.h).
 *
 * Threads: one each; start and stop are main()'s.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "config/config.h"
#include "dispatcher/dispatcher.h"
#include "dispatcher/threads.h"
#include "store/store.h"

struct dispatcher_pruner;

struct dispatcher_copier {
    const struct blx_config *config; /* NULL: it was not started */
    struct dispatcher *dispatcher;   /* borrowed */
    const char *other;               /* the object store's URL, or the source's address */
    uint64_t every_ms;
    const struct blx_store *store; /* where copies are pruned; NULL: an object store's */
    struct dispatcher_pruner *pruner;
    struct dispatcher_threads threads;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stop; /* guarded by `lock` */
};

/* Does nothing if no object store is configured. */
int dispatcher_copier_start(struct dispatcher_copier *copier, struct dispatcher *dispatcher,
                            const struct blx_config *config, struct blx_error *err);

/* The same for the source. */
int dispatcher_copier_start_source(struct dispatcher_copier *copier, struct dispatcher *dispatcher,
                                   const struct blx_config *config,
                                   struct dispatcher_pruner *pruner, struct blx_error *err);

/* Kills a copy that runs, which the next one goes on with. -ETIMEDOUT at the deadline. A copier
 * that was not started has ended. */
int dispatcher_copier_stop(struct dispatcher_copier *copier, uint64_t deadline_ns);
