/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds back log lines that strangers can cause at will, whoever they are: a bucket (bucket.h) of
 * DISPATCHER_RATE_BURST lines, and as many in each period.
 *
 * Threads: any; each call takes `lock`, which guards the bucket and is a leaf.
 */
#pragma once

#include <pthread.h>

#include "base/bucket.h"

enum { DISPATCHER_RATE_BURST = 5, DISPATCHER_RATE_PERIOD_MS = 10 * 1000 };

struct dispatcher_rate {
    pthread_mutex_t lock;
    struct blx_bucket bucket;
};

#define DISPATCHER_RATE_INIT                                                                       \
    {                                                                                              \
        .lock = PTHREAD_MUTEX_INITIALIZER                                                          \
    }

/* Whether a line may be written now. If so, `held_back` becomes the number of lines that were held
 * back since the last one. */
bool dispatcher_rate_allow(struct dispatcher_rate *rate, uint64_t now_ns, unsigned *held_back);
