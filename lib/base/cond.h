/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Condition variables on CLOCK_MONOTONIC, so that a step of the wall clock neither hurries nor
 * stalls a deadline.
 *
 * Deadlines are base/clock.h's.
 */
#pragma once

#include <errno.h>
#include <pthread.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/clock.h"

/* 0 or -errno. Destroy it with pthread_cond_destroy(). */
static inline int blx_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;
    int rc = pthread_condattr_init(&attributes);
    if (rc != 0)
        return -rc;
    rc = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    if (rc == 0)
        rc = pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
    return -rc;
}

/* 0 when woken, perhaps without reason; -ETIMEDOUT at the deadline. The caller holds `lock`. */
static inline int blx_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock,
                                      uint64_t deadline_ns)
{
    blx_assert_held(lock);
    if (deadline_ns == BLX_FOR_EVER)
        return -pthread_cond_wait(cond, lock);
    struct timespec deadline = blx_ns_to_timespec(deadline_ns);
    return -pthread_cond_timedwait(cond, lock, &deadline);
}
