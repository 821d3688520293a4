/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/ahead.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    MAX_THREADS = 4,
    JOBS = 32,
    JOB_BYTES = 512 << 10, /* two frames of a full pass */
    AHEAD_BYTES = 8 << 20, /* how far it runs ahead */
    SLACK_BYTES = 1 << 20, /* the kernel's own reads are not quite in order */
};

struct job {
    struct mount_checkpoint *checkpoint; /* got for the job */
    const struct mount_file *file;
    uint64_t bytes, offset_bytes;
};

/* `lock` guards the ring. */
struct mount_ahead {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct job jobs[JOBS];
    size_t first, count;
    bool stopping;
    pthread_t threads[MAX_THREADS];
    size_t thread_count;
};

static void *work(void *arg)
{
    struct mount_ahead *ahead = arg;
    pthread_mutex_lock(&ahead->lock);
    while (!ahead->stopping) {
        if (ahead->count == 0) {
            pthread_cond_wait(&ahead->changed, &ahead->lock);
            continue;
        }
        struct job job = ahead->jobs[ahead->first];
        ahead->first = (ahead->first + 1) % JOBS;
        ahead->count--;
        pthread_mutex_unlock(&ahead->lock);
        mount_file_read_ahead(job.checkpoint, job.file, job.bytes, job.offset_bytes);
        mount_checkpoint_put(job.checkpoint);
        pthread_mutex_lock(&ahead->lock);
    }
    pthread_mutex_unlock(&ahead->lock);
    return NULL;
}

struct mount_ahead *mount_ahead_new(void)
{
    struct mount_ahead *ahead = calloc(1, sizeof(*ahead));
    if (ahead == NULL)
        return NULL;
    pthread_mutex_init(&ahead->lock, NULL);
    pthread_cond_init(&ahead->changed, NULL);
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    size_t wanted = online < 2 ? 1 : online > MAX_THREADS ? MAX_THREADS : (size_t)online;
    while (ahead->thread_count < wanted &&
           pthread_create(&ahead->threads[ahead->thread_count], NULL, work, ahead) == 0)
        ahead->thread_count++;
    if (ahead->thread_count == 0) {
        mount_ahead_free(ahead);
        return NULL;
    }
    return ahead;
}

void mount_ahead_free(struct mount_ahead *ahead)
{
    if (ahead == NULL)
        return;
    pthread_mutex_lock(&ahead->lock);
    ahead->stopping = true;
    pthread_cond_broadcast(&ahead->changed);
    pthread_mutex_unlock(&ahead->lock);
    for (size_t i = 0; i < ahead->thread_count; i++)
        pthread_join(ahead->threads[i], NULL);
    for (; ahead->count > 0; ahead->count--, ahead->first = (ahead->first + 1) % JOBS)
        mount_checkpoint_put(ahead->jobs[ahead->first].checkpoint);
    pthread_cond_destroy(&ahead->changed);
    pthread_mutex_destroy(&ahead->lock);
    free(ahead);
}

/* False: there is no room. */
static bool push(struct mount_ahead *ahead, const struct job *job)
{
    pthread_mutex_lock(&ahead->lock);
    bool room = ahead->count < JOBS && mount_checkpoint_get(job->checkpoint, NULL) == 0;
    if (room) {
        ahead->jobs[(ahead->first + ahead->count++) % JOBS] = *job;
        pthread_cond_signal(&ahead->changed);
    }
    pthread_mutex_unlock(&ahead->lock);
    return room;
}

void mount_ahead_follow(struct mount_ahead *ahead, struct mount_ahead_reader *reader,
                        struct mount_checkpoint *checkpoint, const struct mount_file *file,
                        uint64_t bytes, uint64_t offset_bytes)
{
    uint64_t end = offset_bytes + bytes, before = atomic_exchange(&reader->next_bytes, end);
    bool goes_on = offset_bytes + SLACK_BYTES >= before && offset_bytes <= before + SLACK_BYTES;
    uint64_t from = atomic_load(&reader->ahead_bytes);
    if (!goes_on || from < end || from > end + AHEAD_BYTES + SLACK_BYTES)
        from = end;
    if (!goes_on || before == 0) {
        atomic_store(&reader->ahead_bytes, end);
        return;
    }
    uint64_t to = end + AHEAD_BYTES < file->bytes ? end + AHEAD_BYTES : file->bytes;
    while (from < to && (to - from >= JOB_BYTES || to == file->bytes)) {
        struct job job = {.checkpoint = checkpoint,
                          .file = file,
                          .bytes = to - from < JOB_BYTES ? to - from : JOB_BYTES,
                          .offset_bytes = from};
        if (!push(ahead, &job))
            break;
        from += job.bytes;
    }
    atomic_store(&reader->ahead_bytes, from);
}
