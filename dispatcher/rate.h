/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds back log lines that strangers can cause at will: at most DISPATCHER_RATE_BURST in each period, the
 * rest is counted.
 *
 * Threads: any; `lock` guards all fields.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { DISPATCHER_RATE_BURST = 5, DISPATCHER_RATE_PERIOD_MS = 10 * 1000 };

struct dispatcher_rate {
    pthread_mutex_t lock;
    uint64_t period_start_ns;
    unsigned in_period;
    unsigned held_back; /* since the last line that was let through */
};

#define DISPATCHER_RATE_INIT                                                                       \
    {                                                                                              \
        .lock = PTHREAD_MUTEX_INITIALIZER                                                          \
    }

/* Whether a line may be written now; `held_back` (only written then) is how many were not since the
 * last one. */
bool dispatcher_rate_allow(struct dispatcher_rate *rate, uint64_t now_ns, unsigned *held_back);
