/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/send/pipeline.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/sysinfo.h>
#include <time.h>

#include "agent/send/effort_private.h"
#include "base/cond.h"
#include "base/log.h"
#include "base/queue.h"

enum { STACK_BYTES = 512 * 1024, WORK_QUEUE_LIMIT = 1024, DATA_ALIGNMENT = 4096 };

struct agent_pipeline {
    /* Written before the first job, then constant. */
    enum blx_codec codec;
    bool adapts;
    unsigned most_digesting; /* workers at the same time */
    pthread_t workers[AGENT_PIPELINE_WORKERS_MAX];
    unsigned worker_count;

    /* Atomic. The sender writes the level, the workers read it. Both change `packing_ns`. */
    atomic_int level;            /* of compression */
    _Atomic uint64_t packing_ns; /* processor time spent on packing since the last report */

    struct agent_effort effort; /* the sender's alone */

    /* The queues have locks of their own. A job belongs to the thread that popped it. */
    struct blx_queue *idle;
    struct blx_queue *work;
    struct blx_queue *packed;
    struct agent_job jobs[AGENT_PIPELINE_JOBS];

    pthread_mutex_t lock;    /* an inner one: no other is taken while it is held */
    pthread_cond_t all_read; /* a reading's `unread`, which `lock` guards, has become 0 */
    pthread_cond_t may_digest;
    /* Guarded by `lock`. In brackets: the threads that write it. */
    unsigned digesting; /* workers that do [workers] */
};

static void count_read(struct agent_pipeline *pipeline, struct agent_reading *reading)
{
    pthread_mutex_lock(&pipeline->lock);
    if (--reading->unread == 0)
        pthread_cond_signal(&pipeline->all_read);
    pthread_mutex_unlock(&pipeline->lock);
}

/* On no more processors at once than a rescan may have. */
static int digest(struct agent_pipeline *pipeline, struct agent_job *job)
{
    pthread_mutex_lock(&pipeline->lock);
    while (pipeline->digesting == pipeline->most_digesting)
        pthread_cond_wait(&pipeline->may_digest, &pipeline->lock);
    pipeline->digesting++;
    pthread_mutex_unlock(&pipeline->lock);
    int rc = agent_batch_digest(&job->batch, job->digests, &job->error);
    pthread_mutex_lock(&pipeline->lock);
    pipeline->digesting--;
    pthread_cond_signal(&pipeline->may_digest);
    pthread_mutex_unlock(&pipeline->lock);
    return rc;
}

static int pack(struct agent_pipeline *pipeline, struct agent_job *job)
{
    uint64_t begun_ns = pipeline->adapts ? blx_clock_thread_ns() : 0;
    int rc = agent_batch_pack(&job->batch, pipeline->codec, atomic_load(&pipeline->level),
                              job->frame, &job->frame_bytes, &job->error);
    if (pipeline->adapts)
        atomic_fetch_add(&pipeline->packing_ns, blx_clock_thread_ns() - begun_ns);
    return rc;
}

static void read_and_pack(struct agent_pipeline *pipeline, struct agent_job *job)
{
    blx_error_clear(&job->error);
    job->rc = job->is_read ? 0 : agent_batch_read(&job->batch);
    if (job->frame == NULL) {
        if (job->rc == 0 && job->digests != NULL)
            job->rc = digest(pipeline, job);
        count_read(pipeline, job->reading);
        return;
    }
    if (job->rc == 0 && !job->is_read)
        agent_batch_leave_out_bad(&job->batch);
    if (job->rc == 0 && job->batch.extent_count > 0)
        job->rc = pack(pipeline, job);
    blx_queue_push(pipeline->packed, job);
}

static void *worker(void *arg)
{
    struct agent_pipeline *pipeline = arg;
    void *job;
    while (blx_queue_pop(pipeline->work, UINT64_MAX, &job) == 0)
        read_and_pack(pipeline, job);
    return NULL;
}

static int make_jobs(struct agent_pipeline *pipeline)
{
    for (size_t i = 0; i < AGENT_PIPELINE_JOBS; i++) {
        struct agent_job *job = &pipeline->jobs[i];
        job->batch.data = aligned_alloc(DATA_ALIGNMENT, AGENT_BATCH_DATA_BYTES);
        job->frame = malloc(BLX_FRAME_MAX_BYTES);
        if (job->batch.data == NULL || job->frame == NULL)
            return -ENOMEM;
        blx_queue_push(pipeline->idle, job);
    }
    return 0;
}

static int start_workers(struct agent_pipeline *pipeline)
{
    /* Twice the processors, so that the disk is kept busy while others pack; more would only wait.
     */
    unsigned wanted = 2 * (unsigned)get_nprocs();
    wanted = wanted < 4 ? 4 : wanted;
    wanted = wanted > AGENT_PIPELINE_WORKERS_MAX ? AGENT_PIPELINE_WORKERS_MAX : wanted;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int rc = 0;
    while (rc == 0 && pipeline->worker_count < wanted) {
        rc = -pthread_create(&pipeline->workers[pipeline->worker_count], &attributes, worker,
                             pipeline);
        pipeline->worker_count += rc == 0;
    }
    pthread_attr_destroy(&attributes);
    return rc;
}

int agent_pipeline_start(enum blx_codec codec, struct agent_pipeline **pipeline,
                         struct blx_error *err)
{
    struct agent_pipeline *made = calloc(1, sizeof(*made));
    int rc = made == NULL ? -ENOMEM : 0;
    if (rc == 0) {
        made->codec = codec;
        made->most_digesting = AGENT_PIPELINE_WORKERS_MAX;
        pthread_mutex_init(&made->lock, NULL);
        rc = blx_cond_init(&made->all_read);
        if (rc == 0)
            rc = blx_cond_init(&made->may_digest);
        made->idle = blx_queue_new(AGENT_PIPELINE_JOBS);
        made->work = blx_queue_new(WORK_QUEUE_LIMIT);
        made->packed = blx_queue_new(AGENT_PIPELINE_JOBS);
        if (rc == 0 && (made->idle == NULL || made->work == NULL || made->packed == NULL))
            rc = -ENOMEM;
    }
    if (rc == 0)
        rc = make_jobs(made);
    if (rc == 0)
        rc = start_workers(made);
    if (rc < 0) {
        agent_pipeline_stop(made);
        return blx_error_errno(err, rc, "cannot start the workers");
    }
    *pipeline = made;
    return 0;
}

void agent_pipeline_limit_digesting(struct agent_pipeline *pipeline, unsigned most)
{
    if (most > 0)
        pipeline->most_digesting = most;
}

void agent_pipeline_adapt(struct agent_pipeline *pipeline)
{
    pipeline->adapts = true;
    agent_effort_init(&pipeline->effort, (unsigned)get_nprocs());
}

void agent_pipeline_report(struct agent_pipeline *pipeline, uint64_t blocked_ns,
                           uint64_t starved_ns)
{
    if (!pipeline->adapts)
        return;
    struct agent_effort_times times = {
        .blocked_ns = blocked_ns,
        .starved_ns = starved_ns,
        .packing_ns = atomic_exchange(&pipeline->packing_ns, 0),
        .frames = 1,
    };
    int level = agent_effort_add(&pipeline->effort, &times);
    if (atomic_exchange(&pipeline->level, level) != level)
        blx_log_debug("frames are packed at level %d from now on", level);
}

void agent_pipeline_stop(struct agent_pipeline *pipeline)
{
    if (pipeline == NULL)
        return;
    if (pipeline->work != NULL)
        blx_queue_close(pipeline->work);
    for (unsigned i = 0; i < pipeline->worker_count; i++)
        pthread_join(pipeline->workers[i], NULL);
    for (size_t i = 0; i < AGENT_PIPELINE_JOBS; i++) {
        free(pipeline->jobs[i].batch.data);
        free(pipeline->jobs[i].frame);
    }
    blx_queue_free(pipeline->idle);
    blx_queue_free(pipeline->work);
    blx_queue_free(pipeline->packed);
    pthread_cond_destroy(&pipeline->may_digest);
    pthread_cond_destroy(&pipeline->all_read);
    pthread_mutex_destroy(&pipeline->lock);
    free(pipeline);
}

struct agent_job *agent_pipeline_take(struct agent_pipeline *pipeline, uint64_t timeout_ms)
{
    void *idle;
    if (blx_queue_pop(pipeline->idle, timeout_ms, &idle) < 0)
        return NULL;
    struct agent_job *job = idle;
    job->is_read = false;
    return job;
}

void agent_pipeline_submit(struct agent_pipeline *pipeline, struct agent_job *job)
{
    blx_queue_push(pipeline->work, job);
}

struct agent_job *agent_pipeline_pop(struct agent_pipeline *pipeline, uint64_t timeout_ms)
{
    void *job = NULL;
    return blx_queue_pop(pipeline->packed, timeout_ms, &job) == 0 ? job : NULL;
}

void agent_pipeline_release(struct agent_pipeline *pipeline, struct agent_job *job)
{
    blx_queue_push(pipeline->idle, job);
}

void agent_pipeline_begin(struct agent_pipeline *pipeline, struct agent_reading *reading)
{
    reading->unread = reading->count; /* no worker has a job of it yet */
    for (size_t i = 0; i < reading->count; i++) {
        reading->jobs[i].reading = reading;
        blx_queue_push(pipeline->work, &reading->jobs[i]);
    }
}

bool agent_pipeline_wait(struct agent_pipeline *pipeline, const struct agent_reading *reading,
                         uint64_t timeout_ms)
{
    uint64_t deadline_ns = blx_deadline_in_ms(timeout_ms);
    int rc = 0;
    pthread_mutex_lock(&pipeline->lock);
    while (reading->unread > 0 && rc != -ETIMEDOUT)
        rc = blx_cond_wait_until(&pipeline->all_read, &pipeline->lock, deadline_ns);
    bool all = reading->unread == 0;
    pthread_mutex_unlock(&pipeline->lock);
    return all;
}

int agent_pipeline_get_failure(const struct agent_reading *reading)
{
    for (size_t i = 0; i < reading->count; i++) {
        if (reading->jobs[i].rc < 0)
            return reading->jobs[i].rc;
    }
    return 0;
}

int agent_pipeline_read(struct agent_pipeline *pipeline, struct agent_job *jobs, size_t count)
{
    struct agent_reading reading = {.jobs = jobs, .count = count};
    agent_pipeline_begin(pipeline, &reading);
    agent_pipeline_wait(pipeline, &reading, BLX_FOR_EVER);
    return agent_pipeline_get_failure(&reading);
}
