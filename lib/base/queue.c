/* SPDX-License-Identifier: Apache-2.0 */
#include "base/queue.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/assert.h"
#include "base/units.h"

struct blx_queue {
    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t not_empty;
    pthread_cond_t not_full;
    bool closed;
    size_t limit;
    size_t head;
    size_t length;
    void *ring[];
};

struct blx_queue *blx_queue_new(size_t limit)
{
    blx_assert(limit > 0);
    struct blx_queue *queue = calloc(1, sizeof(*queue) + limit * sizeof(queue->ring[0]));
    if (queue == NULL)
        return NULL;
    queue->limit = limit;
    pthread_mutex_init(&queue->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&queue->not_empty, &monotonic);
    pthread_cond_init(&queue->not_full, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return queue;
}

void blx_queue_free(struct blx_queue *queue)
{
    if (queue == NULL)
        return;
    pthread_cond_destroy(&queue->not_full);
    pthread_cond_destroy(&queue->not_empty);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

int blx_queue_push(struct blx_queue *queue, void *entry)
{
    int rc = 0;
    pthread_mutex_lock(&queue->lock);
    while (queue->length == queue->limit && !queue->closed)
        pthread_cond_wait(&queue->not_full, &queue->lock);
    if (queue->closed) {
        rc = -EPIPE;
    } else {
        queue->ring[(queue->head + queue->length) % queue->limit] = entry;
        queue->length++;
        pthread_cond_signal(&queue->not_empty);
    }
    pthread_mutex_unlock(&queue->lock);
    return rc;
}

/* Waits for an entry or the close; the lock is held. */
static int wait_for_entry(struct blx_queue *queue, uint64_t timeout_ms)
{
    uint64_t deadline_ns = blx_clock_ns() + timeout_ms * 1000000;
    struct timespec deadline = {(time_t)(deadline_ns / 1000000000),
                                (long)(deadline_ns % 1000000000)};
    while (queue->length == 0 && !queue->closed) {
        if (timeout_ms == UINT64_MAX)
            pthread_cond_wait(&queue->not_empty, &queue->lock);
        else if (pthread_cond_timedwait(&queue->not_empty, &queue->lock, &deadline) == ETIMEDOUT &&
                 queue->length == 0)
            return -ETIMEDOUT;
    }
    return queue->length > 0 ? 0 : -EPIPE;
}

int blx_queue_pop(struct blx_queue *queue, uint64_t timeout_ms, void **entry)
{
    pthread_mutex_lock(&queue->lock);
    int rc = wait_for_entry(queue, timeout_ms);
    if (rc == 0) {
        *entry = queue->ring[queue->head];
        queue->head = (queue->head + 1) % queue->limit;
        queue->length--;
        pthread_cond_signal(&queue->not_full);
    }
    pthread_mutex_unlock(&queue->lock);
    return rc;
}

void blx_queue_close(struct blx_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    pthread_cond_broadcast(&queue->not_empty);
    pthread_cond_broadcast(&queue->not_full);
    pthread_mutex_unlock(&queue->lock);
}

size_t blx_queue_length(struct blx_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    size_t length = queue->length;
    pthread_mutex_unlock(&queue->lock);
    return length;
}
