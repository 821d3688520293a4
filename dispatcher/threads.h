/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A group of threads that come and go. Each has a small stack and is joined by whoever starts or
 * waits next, so that nothing is left at the end. Waiting has a deadline, because a thread may sit
 * in a disk call that nobody can cut short.
 *
 * Threads: any.
 */
#pragma once

#include <pthread.h>
#include <stdint.h>

#include "base/error.h"

struct dispatcher_thread;

struct dispatcher_threads {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    unsigned limit; /* constant */

    /* Guarded by `lock`. A thread that ends writes both. */
    unsigned running;
    struct dispatcher_thread *finished; /* to be joined */
};

int dispatcher_threads_init(struct dispatcher_threads *threads, unsigned limit);

/* No thread may be running any more. */
void dispatcher_threads_done(struct dispatcher_threads *threads);

/* Runs `run(arg)` in a new thread, which blocks the same signals as the caller. -EAGAIN at the
 * limit. */
int dispatcher_threads_start(struct dispatcher_threads *threads, void (*run)(void *arg), void *arg,
                             struct blx_error *err);

/* Waits until all have ended, at most until `deadline_ns` (blx_clock_ns()): -ETIMEDOUT. */
int dispatcher_threads_wait(struct dispatcher_threads *threads, uint64_t deadline_ns);

/* pthread_create() with the stack that all threads of the dispatcher have. */
int dispatcher_thread_create(pthread_t *thread, void *(*run)(void *arg), void *arg);

/* Gives the unused pages of this thread's stack back to the kernel. Otherwise each of a thousand
 * idle sessions would hold as many as its largest commit once took. */
void dispatcher_thread_trim(void);
