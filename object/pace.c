/* SPDX-License-Identifier: Apache-2.0 */
#include "object/pace.h"

#include <time.h>

#include "base/clock.h"

enum { LEAST_STEP_BYTES = 1024, STEPS_A_SECOND = 20 };

void object_pace_init(struct object_pace *pace, const struct blx_bandwidth *limit)
{
    pthread_mutex_init(&pace->lock, NULL);
    pace->limiter = (struct blx_limiter){0};
    blx_limiter_set(&pace->limiter, limit);
}

size_t object_pace_take(struct object_pace *pace, size_t bytes)
{
    for (;;) {
        struct tm when;
        time_t now = time(NULL);
        localtime_r(&now, &when);
        pthread_mutex_lock(&pace->lock);
        uint64_t wait_ns = blx_limiter_get_wait_ns(&pace->limiter, blx_clock_ns(), &when);
        uint64_t rate = pace->limiter.bytes_per_second;
        size_t step = rate / STEPS_A_SECOND > LEAST_STEP_BYTES ? (size_t)(rate / STEPS_A_SECOND)
                                                               : LEAST_STEP_BYTES;
        if (rate == 0 || step > bytes)
            step = bytes;
        if (wait_ns == 0)
            blx_limiter_take(&pace->limiter, step);
        pthread_mutex_unlock(&pace->lock);
        if (wait_ns == 0)
            return step;
        const struct timespec pause = {.tv_sec = (time_t)(wait_ns / BLX_NS_PER_S),
                                       .tv_nsec = (long)(wait_ns % BLX_NS_PER_S)};
        nanosleep(&pause, NULL);
    }
}
