/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/threads.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/cond.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { STACK_BYTES = 512 * 1024 };
#else
enum { STACK_BYTES = 256 * 1024 };
#endif

struct dispatcher_thread {
    struct dispatcher_threads *group;
    struct dispatcher_thread *next; /* in group->finished */
    pthread_t id;
    void (*run)(void *arg);
    void *arg;
};

int dispatcher_threads_init(struct dispatcher_threads *threads, unsigned limit)
{
    *threads = (struct dispatcher_threads){.limit = limit};
    int rc = blx_cond_init(&threads->ended);
    if (rc < 0)
        return rc;
    rc = -pthread_mutex_init(&threads->lock, NULL);
    if (rc < 0)
        pthread_cond_destroy(&threads->ended);
    return rc;
}

/* Joins the threads that have ended. Such a thread is past its last use of the lock. */
static void join_finished_locked(struct dispatcher_threads *threads)
{
    blx_assert_held(&threads->lock);
    while (threads->finished != NULL) {
        struct dispatcher_thread *thread = threads->finished;
        threads->finished = thread->next;
        pthread_join(thread->id, NULL);
        free(thread);
    }
}

void dispatcher_threads_done(struct dispatcher_threads *threads)
{
    pthread_mutex_lock(&threads->lock);
    blx_assert(threads->running == 0);
    join_finished_locked(threads);
    pthread_mutex_unlock(&threads->lock);
    pthread_mutex_destroy(&threads->lock);
    pthread_cond_destroy(&threads->ended);
}

static void *thread_main(void *arg)
{
    struct dispatcher_thread *thread = arg;
    struct dispatcher_threads *group = thread->group;

    thread->run(thread->arg);

    pthread_mutex_lock(&group->lock);
    thread->next = group->finished;
    group->finished = thread;
    group->running--;
    pthread_cond_broadcast(&group->ended);
    pthread_mutex_unlock(&group->lock);
    return NULL;
}

int dispatcher_thread_create(pthread_t *thread, void *(*run)(void *arg), void *arg)
{
    pthread_attr_t attributes;
    int rc = pthread_attr_init(&attributes);
    if (rc != 0)
        return -rc;
    rc = pthread_attr_setstacksize(&attributes, STACK_BYTES);
    if (rc == 0)
        rc = pthread_create(thread, &attributes, run, arg);
    pthread_attr_destroy(&attributes);
    return -rc;
}

int dispatcher_threads_start(struct dispatcher_threads *threads, void (*run)(void *arg), void *arg,
                             struct blx_error *err)
{
    struct dispatcher_thread *thread = malloc(sizeof(*thread));
    if (thread == NULL)
        return blx_error_set(err, -ENOMEM, "starting a thread: out of memory");
    *thread = (struct dispatcher_thread){.group = threads, .run = run, .arg = arg};

    int rc;
    pthread_mutex_lock(&threads->lock);
    join_finished_locked(threads);
    if (threads->running >= threads->limit)
        rc = blx_error_set(err, -EAGAIN, "%u threads are running already, which is the limit",
                           threads->limit);
    else if ((rc = dispatcher_thread_create(&thread->id, thread_main, thread)) < 0)
        blx_error_errno(err, rc, "starting a thread beside %u others", threads->running);
    else
        threads->running++;
    pthread_mutex_unlock(&threads->lock);
    if (rc < 0)
        free(thread);
    return rc;
}

int dispatcher_threads_wait(struct dispatcher_threads *threads, uint64_t deadline_ns)
{
    int rc = 0;
    pthread_mutex_lock(&threads->lock);
    while (threads->running > 0 && rc == 0)
        rc = blx_cond_wait_until(&threads->ended, &threads->lock, deadline_ns);
    if (threads->running == 0)
        rc = 0;
    join_finished_locked(threads);
    pthread_mutex_unlock(&threads->lock);
    return rc;
}

/* Not inlined, so that nothing further than a page below its own frame is in use. */
__attribute__((noinline)) void dispatcher_thread_trim(void)
{
    pthread_attr_t attributes;
    void *lowest = NULL;
    size_t bytes = 0;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0)
        return;
    int rc = pthread_attr_getstack(&attributes, &lowest, &bytes);
    pthread_attr_destroy(&attributes);
    if (rc != 0)
        return;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    /* The page below this frame is for the functions called from here. */
    uintptr_t end = ((uintptr_t)__builtin_frame_address(0) & ~(page - 1)) - page;
    if (end > (uintptr_t)lowest)
        madvise(lowest, end - (uintptr_t)lowest, MADV_DONTNEED);
}
