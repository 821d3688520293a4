/* SPDX-License-Identifier: Apache-2.0 */
#include "store/crew_private.h"

#include <pthread.h>
#include <time.h>

enum { REPORT_INTERVAL_MS = 100, MIN_WORKER_BYTES = 1 << 20 };

/* `lock` guards `running`. */
struct shift {
    const struct blx_crew *crew;
    pthread_mutex_t lock;
    pthread_cond_t ended; /* a worker has; by CLOCK_MONOTONIC */
    unsigned running;
};

unsigned blx_crew_size(size_t most, uint64_t bytes, size_t jobs)
{
    size_t useful = (size_t)(bytes / MIN_WORKER_BYTES) + 1;
    useful = useful < jobs ? useful : jobs;
    most = most < BLX_CREW_MAX_WORKERS ? most : BLX_CREW_MAX_WORKERS;
    return (unsigned)(most < useful ? most : useful);
}

static void *worker(void *arg)
{
    struct shift *shift = arg;
    shift->crew->work(shift->crew->arg);
    pthread_mutex_lock(&shift->lock);
    shift->running--;
    pthread_cond_signal(&shift->ended);
    pthread_mutex_unlock(&shift->lock);
    return NULL;
}

static void await_workers(struct shift *shift)
{
    pthread_mutex_lock(&shift->lock);
    while (shift->running > 0) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += REPORT_INTERVAL_MS * 1000000L;
        if (until.tv_nsec >= 1000000000L) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000L;
        }
        pthread_cond_timedwait(&shift->ended, &shift->lock, &until);
        pthread_mutex_unlock(&shift->lock);
        shift->crew->report(shift->crew->arg);
        pthread_mutex_lock(&shift->lock);
    }
    pthread_mutex_unlock(&shift->lock);
}

static int run_threads(struct shift *shift)
{
    pthread_t threads[BLX_CREW_MAX_WORKERS];
    unsigned started = 0;
    int rc = 0;
    pthread_mutex_lock(&shift->lock);
    while (rc == 0 && started < shift->crew->workers) {
        rc = -pthread_create(&threads[started], NULL, worker, shift);
        if (rc == 0)
            started++;
    }
    shift->running = started;
    pthread_mutex_unlock(&shift->lock);
    await_workers(shift);
    for (unsigned i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    return started > 0 ? 0 : rc;
}

int blx_crew_run(const struct blx_crew *crew)
{
    int rc = 0;
    if (crew->workers > 1) {
        struct shift shift = {.crew = crew};
        pthread_condattr_t monotonic;
        pthread_condattr_init(&monotonic);
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        pthread_mutex_init(&shift.lock, NULL);
        pthread_cond_init(&shift.ended, &monotonic);
        pthread_condattr_destroy(&monotonic);
        rc = run_threads(&shift);
        pthread_cond_destroy(&shift.ended);
        pthread_mutex_destroy(&shift.lock);
    } else if (crew->workers == 1) {
        crew->work(crew->arg);
    }
    if (rc == 0)
        crew->report(crew->arg);
    return rc;
}
