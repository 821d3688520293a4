/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heartbeats during a long disk call: while the session's thread scans a large open segment or
 * syncs a commit on a slow disk, a short-lived thread sends PINGs in its stead, so that the agent
 * does not take a busy dispatcher for a dead one.
 *
 * Threads: the session starts and stops it. In between the session may send, and the connection
 * must live.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "wire/conn.h"

struct dispatcher_pulse {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stopping; /* guarded by `lock`; the session sets it */

    /* Constant while the thread runs. */
    struct blx_conn *conn;
    uint64_t interval_ms;

    /* The session's. */
    bool started;
    pthread_t thread;
};

/*
 * The first PING comes after `interval_ms`. If no thread can be made there are no PINGs. The call
 * itself does not fail, as the work that it accompanies can go on without.
 */
void dispatcher_pulse_start(struct dispatcher_pulse *pulse, struct blx_conn *conn,
                            uint64_t interval_ms);
void dispatcher_pulse_stop(struct dispatcher_pulse *pulse);
