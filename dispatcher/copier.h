/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies checkpoints into the configured object store in the background: `blxrep-copy copy`, a
 * process of its own, since it alone has the credentials. It runs at the start and then `every` so
 * often, takes what is due of all agents, and says in the log what it did. If it fails it is tried
 * again earlier. If several dispatchers share the data directory, the keeper of them copies
 * (neighbours.h).
 *
 * Threads: one; start and stop are main()'s.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "config/config.h"
#include "dispatcher/dispatcher.h"
#include "dispatcher/threads.h"

struct dispatcher_copier {
    const struct blx_config *config; /* NULL: it was not started */
    struct dispatcher *dispatcher;   /* borrowed */
    struct dispatcher_threads threads;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stop; /* guarded by `lock` */
};

/* Does nothing if no object store is configured. */
int dispatcher_copier_start(struct dispatcher_copier *copier, struct dispatcher *dispatcher,
                            const struct blx_config *config, struct blx_error *err);

/* Kills a copy that runs, which the next one goes on with. -ETIMEDOUT at the deadline. A copier
 * that was not started has ended. */
int dispatcher_copier_stop(struct dispatcher_copier *copier, uint64_t deadline_ns);
