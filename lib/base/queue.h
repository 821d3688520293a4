/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bounded queue of pointers between threads. Its limit is fixed when it is made. A full queue
 * makes blx_queue_push() wait; so the pipeline's stages hold each other back. The queue never owns
 * what its entries point at.
 *
 * Threads: any number may push and pop. One mutex guards the ring; blx_queue_close() wakes
 * everybody.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct blx_queue;

/* A queue of at most `limit` (1 or more) entries; NULL if memory is short. */
struct blx_queue *blx_queue_new(size_t limit);

/* NULL is allowed. No thread may still be inside. */
void blx_queue_free(struct blx_queue *queue);

/* Waits while the queue is full. 0, or -EPIPE if it is closed. */
int blx_queue_push(struct blx_queue *queue, void *entry);

/*
 * Waits at most `timeout_ms` (BLX_FOR_EVER: no limit) for an entry. 0, -ETIMEDOUT, or -EPIPE if the
 * queue is closed and empty: entries that were pushed before the close are still handed out.
 */
int blx_queue_pop(struct blx_queue *queue, uint64_t timeout_ms, void **entry);

/* No more pushes; waiting threads wake up. */
void blx_queue_close(struct blx_queue *queue);

/* How many entries wait now. For figures only: it may be wrong a moment later. */
size_t blx_queue_length(struct blx_queue *queue);
