/* SPDX-License-Identifier: Apache-2.0 */
#include "store/verify/verify.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "store/agent_lock.h"
#include "store/crew_private.h"
#include "store/directory_private.h"
#include "store/segment/segment_check_private.h"
#include "store/verify/verify_agent_private.h"

enum { MAX_WORKERS = 8 };

/* A segment that waits for a worker. */
struct job {
    const struct blx_verify_volume *volume;
    struct blx_verify_segment *segment;
};

/* What the caller sees of it; over all agents. */
struct view {
    const struct blx_verify_progress *progress;
    atomic_uint_least64_t checked_bytes;
    uint64_t total_bytes;
};

/* Shared by the workers. `lock` guards the fields after it; the list is constant meanwhile. */
struct work {
    const struct job *jobs;
    size_t job_count;
    struct view *view;
    pthread_mutex_t lock;
    size_t next_job;
    struct blx_error failure; /* code 0: none */
};

static void show(struct view *view)
{
    uint64_t done_bytes = atomic_load(&view->checked_bytes);
    if (done_bytes > view->total_bytes) /* the dispatcher wrote on */
        view->total_bytes = done_bytes;
    if (view->progress != NULL && view->progress->report != NULL)
        view->progress->report(view->progress->arg, done_bytes, view->total_bytes);
}

static int check_job(const struct work *work, const struct job *job, struct blx_error *err)
{
    struct blx_verify_segment *segment = job->segment;
    struct blx_segment_request request = {
        .volume_dir = job->volume->dir,
        .number = segment->number,
        .block_shift = segment->block_shift,
        .blocks = segment->blocks,
        .checked_bytes = &work->view->checked_bytes,
        .digest_key = job->volume->has_digest_key ? &job->volume->digest_key : NULL,
    };
    struct blx_error cause = {0};
    int rc = blx_segment_check(&request, &segment->findings, &cause);
    blx_index_done(&segment->findings.index);
    if (rc == -ENOENT) {
        segment->gone = true;
        return 0;
    }
    if (rc < 0)
        return blx_error_copy(err, rc, &cause);
    return 0;
}

static const struct job *take_job(struct work *work)
{
    const struct job *job = NULL;
    pthread_mutex_lock(&work->lock);
    if (work->failure.code == 0 && work->next_job < work->job_count)
        job = &work->jobs[work->next_job++];
    pthread_mutex_unlock(&work->lock);
    return job;
}

static void check_jobs(void *arg)
{
    struct work *work = arg;
    const struct job *job;
    while ((job = take_job(work)) != NULL) {
        struct blx_error err = {0};
        int rc = check_job(work, job, &err);
        pthread_mutex_lock(&work->lock);
        if (rc < 0 && work->failure.code == 0) {
            work->failure = err;
            work->failure.code = rc;
        }
        pthread_mutex_unlock(&work->lock);
    }
}

static void report_checked(void *arg)
{
    show(((struct work *)arg)->view);
}

static unsigned worker_count(const struct work *work)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    size_t most = cpus < 1 ? 1 : cpus > MAX_WORKERS ? MAX_WORKERS : (size_t)cpus;
    return blx_crew_size(most, work->view->total_bytes, work->job_count);
}

static int run_workers(struct work *work, struct blx_error *err)
{
    const struct blx_crew crew = {
        .workers = worker_count(work), .work = check_jobs, .report = report_checked, .arg = work};
    int rc = blx_crew_run(&crew);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot start a thread to verify the store");
    if (work->failure.code != 0)
        return blx_error_set(err, work->failure.code, "%s", work->failure.message);
    return 0;
}

static int check_segments(const struct job *jobs, size_t job_count, struct view *view,
                          struct blx_error *err)
{
    struct work work = {.jobs = jobs, .job_count = job_count, .view = view};
    pthread_mutex_init(&work.lock, NULL);
    int rc = run_workers(&work, err);
    pthread_mutex_destroy(&work.lock);
    return rc;
}

static int check_agent(const struct blx_verify_agent *agent, struct view *view,
                       struct blx_error *err)
{
    size_t count = 0;
    for (size_t v = 0; v < agent->volume_count; v++)
        count += agent->volumes[v].segment_count;
    BLX_CLEANUP_FREE struct job *jobs = calloc(count + 1, sizeof(jobs[0]));
    if (jobs == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot verify the agent '%s'", agent->store.id);
    count = 0;
    for (size_t v = 0; v < agent->volume_count; v++)
        for (size_t s = 0; s < agent->volumes[v].segment_count; s++)
            jobs[count++] = (struct job){&agent->volumes[v], &agent->volumes[v].segments[s]};
    return check_segments(jobs, count, view, err);
}

/* No prune takes anything away meanwhile. */
static int share_contents(struct blx_agent_store agent, struct blx_agent_lock *lock,
                          struct blx_error *err)
{
    if (!blx_agent_store_exists(agent))
        return 0; /* listing its checkpoints says it */
    int rc = blx_agent_lock_open_shared(agent, lock, err);
    return rc == 0 ? blx_agent_lock_share(lock, BLX_LOCK_CONTENTS, err) : rc;
}

static int verify_agent(struct blx_agent_store agent_store, struct view *view,
                        struct blx_verify_report *report, struct blx_error *err)
{
    BLX_CLEANUP(blx_verify_agent_done) struct blx_verify_agent agent = {0};
    BLX_CLEANUP(blx_agent_lock_close) struct blx_agent_lock lock = {.fd = -1};
    int rc = share_contents(agent_store, &lock, err);
    if (rc == 0)
        rc = blx_verify_agent_open(agent_store, &agent, report, err);
    if (rc == 0)
        rc = check_agent(&agent, view, err);
    if (rc == 0)
        rc = blx_verify_agent_holes(&agent, err);
    if (rc == 0)
        rc = blx_verify_agent_judge(&agent, report, err);
    report->agents++;
    show(view);
    return rc;
}

/* How much there is to read, for the progress. */
struct sizing {
    const char *dir;
    uint64_t bytes;
};

static int add_size(void *arg, const char *name, struct blx_error *err)
{
    struct sizing *sizing = arg;
    char path[PATH_MAX];
    struct stat st;
    (void)err;
    size_t length = strlen(name);
    if (length > 4 && strcmp(name + length - 4, ".seg") == 0 &&
        blx_path_format(path, sizeof(path), NULL, "%s/%s", sizing->dir, name) == 0 &&
        stat(path, &st) == 0)
        sizing->bytes += (uint64_t)st.st_size;
    return 0;
}

static int add_volume_size(void *arg, const char *name, struct blx_error *err)
{
    struct sizing *sizing = arg;
    char dir[PATH_MAX];
    struct sizing volume = {.dir = dir};
    (void)err;
    if (blx_path_format(dir, sizeof(dir), NULL, "%s/%s", sizing->dir, name) == 0)
        blx_directory_each(dir, add_size, &volume, NULL);
    sizing->bytes += volume.bytes;
    return 0;
}

static uint64_t agent_size(struct blx_agent_store agent)
{
    char dir[PATH_MAX];
    struct sizing sizing = {.dir = dir};
    if (blx_agent_store_volume_path(agent, NULL, dir, NULL) == 0)
        blx_directory_each(dir, add_volume_size, &sizing, NULL);
    return sizing.bytes;
}

int blx_verify(const struct blx_store *store, const char *agent_id,
               const struct blx_verify_progress *progress, struct blx_verify_report *report,
               struct blx_error *err)
{
    char **ids = NULL;
    size_t count = 0;
    struct view view = {.progress = progress};
    *report = (struct blx_verify_report){0};
    if (agent_id != NULL) {
        view.total_bytes = agent_size(blx_store_agent(store, agent_id));
        return verify_agent(blx_store_agent(store, agent_id), &view, report, err);
    }
    int rc = blx_store_list_agents(store, &ids, &count, err);
    for (size_t i = 0; rc == 0 && i < count; i++)
        view.total_bytes += agent_size(blx_store_agent(store, ids[i]));
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = verify_agent(blx_store_agent(store, ids[i]), &view, report, err);
    blx_store_free_agents(ids, count);
    return rc;
}
