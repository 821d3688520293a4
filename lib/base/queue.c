/* SPDX-License-Identifier: Apache-2.0 */
#include "base/queue.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/cond.h"

struct blx_queue {
    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t not_empty;
    pthread_cond_t not_full;
    bool closed;
    size_t limit; /* constant */
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
    blx_cond_init(&queue->not_empty);
    blx_cond_init(&queue->not_full);
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

/* Waits for an entry or the close. */
static int wait_for_entry_locked(struct blx_queue *queue, uint64_t timeout_ms)
{
    blx_assert_held(&queue->lock);
    uint64_t deadline_ns = blx_deadline_in_ms(timeout_ms);
    while (queue->length == 0 && !queue->closed) {
        if (blx_cond_wait_until(&queue->not_empty, &queue->lock, deadline_ns) == -ETIMEDOUT &&
            queue->length == 0)
            return -ETIMEDOUT;
    }
    return queue->length > 0 ? 0 : -EPIPE;
}

int blx_queue_pop(struct blx_queue *queue, uint64_t timeout_ms, void **entry)
{
    pthread_mutex_lock(&queue->lock);
    int rc = wait_for_entry_locked(queue, timeout_ms);
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
