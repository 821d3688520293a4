/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/rate.h"

bool dispatcher_rate_allow(struct dispatcher_rate *rate, uint64_t now_ns, unsigned *held_back)
{
    pthread_mutex_lock(&rate->lock);
    if (now_ns - rate->period_start_ns >= DISPATCHER_RATE_PERIOD_MS * UINT64_C(1000000)) {
        rate->period_start_ns = now_ns;
        rate->in_period = 0;
    }
    bool allowed = rate->in_period < DISPATCHER_RATE_BURST;
    if (allowed) {
        rate->in_period++;
        *held_back = rate->held_back;
        rate->held_back = 0;
    } else {
        rate->held_back++;
    }
    pthread_mutex_unlock(&rate->lock);
    return allowed;
}
