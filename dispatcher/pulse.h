/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heartbeats during a long disk call: while the session's thread scans a large open segment or
 * syncs a commit on a slow disk, a short-lived thread sends PINGs in its stead, so that the agent
 * does not take a busy dispatcher for a dead one.
 *
 * Threads: start and stop by the session; in between the session may send, but the connection must
 * live until the stop.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "wire/conn.h"

struct dispatcher_pulse {
    pthread_mutex_t lock; /* guards `stopping` */
    pthread_cond_t changed;
    bool stopping;
    bool started;
    struct blx_conn *conn;
    uint64_t interval_ms;
    pthread_t thread;
};

/*
 * The first PING comes after `interval_ms`. Where no thread can be made there are no PINGs: the
 * call itself does not fail, as the work that it is to accompany can go on without.
 */
void dispatcher_pulse_start(struct dispatcher_pulse *pulse, struct blx_conn *conn,
                            uint64_t interval_ms);
void dispatcher_pulse_stop(struct dispatcher_pulse *pulse);
