/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bounded queue of pointers between threads. Its limit is given at birth; a full queue makes blx_queue_push() wait, which is
 * how the pipeline's stages hold each other back. The queue never owns what its entries point at.
 *
 * Threads: any number may push and pop. One mutex guards the ring; blx_queue_close() wakes everybody.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct blx_queue;

/* NULL where memory is short. `limit` entries at most, at least 1. */
struct blx_queue *blx_queue_new(size_t limit);

/* NULL is allowed. Nobody may be inside any more. */
void blx_queue_free(struct blx_queue *queue);

/* Waits while the queue is full. 0, or -EPIPE where it is closed. */
int blx_queue_push(struct blx_queue *queue, void *entry);

/*
 * Waits at most `timeout_ms` (UINT64_MAX: for ever) for an entry. 0, -ETIMEDOUT, or -EPIPE where the queue is closed and
 * empty: what was pushed before the close is still handed out.
 */
int blx_queue_pop(struct blx_queue *queue, uint64_t timeout_ms, void **entry);

/* No more pushes; waiting threads wake up. */
void blx_queue_close(struct blx_queue *queue);

/* How many entries wait now: for figures only, it may be wrong a moment later. */
size_t blx_queue_length(struct blx_queue *queue);
