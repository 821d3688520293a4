/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/rate.h"

bool dispatcher_rate_allow(struct dispatcher_rate *rate, uint64_t now_ns, unsigned *held_back)
{
    static const struct blx_bucket_size size = {
        .burst = DISPATCHER_RATE_BURST,
        .period_ns = DISPATCHER_RATE_PERIOD_MS * UINT64_C(1000000) / DISPATCHER_RATE_BURST};
    pthread_mutex_lock(&rate->lock);
    bool allowed = blx_bucket_take(&rate->bucket, &size, now_ns, held_back);
    pthread_mutex_unlock(&rate->lock);
    return allowed;
}
