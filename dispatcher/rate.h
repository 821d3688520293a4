/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds back log lines that strangers can cause at will: at most DISPATCHER_RATE_BURST lines in
 * each period are written, the others are counted.
 *
 * Threads: any; each call takes `lock`, which guards all fields and is a leaf.
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

/* Whether a line may be written now. If so, `held_back` becomes the number of lines that were held
 * back since the last one. */
bool dispatcher_rate_allow(struct dispatcher_rate *rate, uint64_t now_ns, unsigned *held_back);
