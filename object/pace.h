/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `bandwidth-limit` of copies, shared by all connections to an object store: base/limiter.h
 * behind a lock.
 *
 * Threads: any. Waiting sleeps.
 */
#pragma once

#include <pthread.h>
#include <stddef.h>

#include "base/limiter.h"

struct object_pace {
    pthread_mutex_t lock;
    struct blx_limiter limiter;
};

void object_pace_init(struct object_pace *pace, const struct blx_bandwidth *limit);

/* Waits until something may go, and says how much of `bytes`, at least 1. */
size_t object_pace_take(struct object_pace *pace, size_t bytes);
