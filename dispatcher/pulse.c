/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/pulse.h"

#include <errno.h>

#include "base/units.h"
#include "dispatcher/threads.h"
#include "base/cond.h"

static void *pulse_main(void *arg)
{
    struct dispatcher_pulse *pulse = arg;
    const struct blx_message ping = {.type = BLX_MESSAGE_PING};
    int rc = 0;

    pthread_mutex_lock(&pulse->lock);
    while (!pulse->stopping && rc == 0) {
        uint64_t deadline_ns = blx_clock_ns() + pulse->interval_ms * 1000000;
        int waited = 0;
        while (!pulse->stopping && waited != -ETIMEDOUT)
            waited = blx_cond_wait_until(&pulse->changed, &pulse->lock, deadline_ns);
        if (pulse->stopping)
            break;
        pthread_mutex_unlock(&pulse->lock);
        rc =
            blx_conn_send(pulse->conn, &ping, NULL); /* a lost connection is found by the session */
        pthread_mutex_lock(&pulse->lock);
    }
    pthread_mutex_unlock(&pulse->lock);
    return NULL;
}

void dispatcher_pulse_start(struct dispatcher_pulse *pulse, struct blx_conn *conn,
                            uint64_t interval_ms)
{
    *pulse = (struct dispatcher_pulse){.conn = conn, .interval_ms = interval_ms};
    if (blx_cond_init(&pulse->changed) < 0)
        return;
    pthread_mutex_init(&pulse->lock, NULL); /* cannot fail on Linux for a plain mutex */
    if (dispatcher_thread_create(&pulse->thread, pulse_main, pulse) == 0) {
        pulse->started = true;
        return;
    }
    pthread_cond_destroy(&pulse->changed);
    pthread_mutex_destroy(&pulse->lock);
}

void dispatcher_pulse_stop(struct dispatcher_pulse *pulse)
{
    if (!pulse->started)
        return;
    pthread_mutex_lock(&pulse->lock);
    pulse->stopping = true;
    pthread_cond_signal(&pulse->changed);
    pthread_mutex_unlock(&pulse->lock);
    pthread_join(pulse->thread, NULL);
    pthread_cond_destroy(&pulse->changed);
    pthread_mutex_destroy(&pulse->lock);
    pulse->started = false;
}
