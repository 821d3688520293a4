#include "store/restore.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "store/directory.h"
#include "store/restore_output.h"
#include "store/restore_plan.h"

enum { MAX_WORKERS = 8, REPORT_INTERVAL_MS = 100 };

/* Shared by the workers. `lock` guards what follows it; plan and output are constant meanwhile. */
struct work {
    const struct blx_restore_plan *plan;
    const struct blx_restore_output *output;
    pthread_mutex_t lock;
    pthread_cond_t news; /* done_bytes reached the end, an error came, or a worker ended */
    size_t next_frame;
    uint64_t done_bytes;
    unsigned running;
    struct blx_error failure; /* code 0: none */
};

/* What a worker holds: a frame and its data. */
struct scratch {
    uint8_t *frame;
    uint8_t *data;
};

static void scratch_done(struct scratch *scratch)
{
    free(scratch->frame);
    free(scratch->data);
}

static int write_entries(const struct work *work, const struct blx_restore_frame *job,
                         const struct blx_frame *frame, const uint8_t *data,
                         uint64_t *written_bytes, struct blx_error *err)
{
    const struct blx_restore_plan *plan = work->plan;
    for (size_t i = 0; i < job->count; i++) {
        const struct blx_index_entry *entry = &plan->index.entries[job->first + i];
        uint64_t from = (uint64_t)entry->data_block << plan->block_shift;
        uint64_t bytes = entry->extent.block_count << plan->block_shift;
        if (from > frame->data_bytes || bytes > frame->data_bytes - from)
            return blx_error_set(
                err, -EBADMSG,
                "a segment is damaged: its index points behind the data of frame %llu",
                (unsigned long long)frame->seq);
        int rc = blx_restore_output_write(work->output, data + from, bytes,
                                          entry->extent.start_block << plan->block_shift, err);
        if (rc < 0)
            return rc;
        *written_bytes += bytes;
    }
    return 0;
}

static int restore_frame(const struct work *work, const struct blx_restore_frame *job,
                         const struct scratch *scratch, uint64_t *written_bytes,
                         struct blx_error *err)
{
    const struct blx_index_entry *entry = &work->plan->index.entries[job->first];
    const struct blx_segment_reader *reader = work->plan->segments[entry->segment];
    struct blx_frame frame;
    int rc = blx_segment_reader_frame(reader, entry->frame_offset, entry->frame_bytes,
                                      scratch->frame, &frame, err);
    if (rc == 0) {
        rc = blx_frame_unpack(&frame, scratch->data, err);
        if (rc < 0)
            blx_error_prefix(err, "segment %u, byte %llu",
                             blx_segment_reader_summary(reader)->number,
                             (unsigned long long)entry->frame_offset);
    }
    if (rc == 0)
        rc = write_entries(work, job, &frame, scratch->data, written_bytes, err);
    return rc;
}

/* The next frame that is to be done, NULL where there is none or somebody failed. */
static const struct blx_restore_frame *take_frame(struct work *work)
{
    const struct blx_restore_frame *job = NULL;
    pthread_mutex_lock(&work->lock);
    if (work->failure.code == 0 && work->next_frame < work->plan->frame_count)
        job = &work->plan->frames[work->next_frame++];
    pthread_mutex_unlock(&work->lock);
    return job;
}

static void report_done(struct work *work, uint64_t bytes, int rc, const struct blx_error *err)
{
    pthread_mutex_lock(&work->lock);
    work->done_bytes += bytes;
    if (rc < 0 && work->failure.code == 0) {
        work->failure = *err;
        work->failure.code = rc;
    }
    pthread_mutex_unlock(&work->lock);
}

static void *worker(void *arg)
{
    struct work *work = arg;
    BLX_CLEANUP(scratch_done)
    struct scratch scratch = {
        .frame = malloc(BLX_FRAME_MAX_BYTES),
        .data = malloc(BLX_FRAME_MAX_DATA_BYTES),
    };
    struct blx_error err = {0};
    const struct blx_restore_frame *job;
    if (scratch.frame == NULL || scratch.data == NULL) {
        blx_error_errno(&err, -ENOMEM, "cannot restore");
        report_done(work, 0, -ENOMEM, &err);
    }
    while ((job = take_frame(work)) != NULL) {
        uint64_t bytes = 0;
        int rc = restore_frame(work, job, &scratch, &bytes, &err);
        report_done(work, bytes, rc, &err);
    }
    pthread_mutex_lock(&work->lock);
    work->running--;
    pthread_cond_signal(&work->news);
    pthread_mutex_unlock(&work->lock);
    return NULL;
}

static void report(struct work *work, const struct blx_restore_progress *progress)
{
    pthread_mutex_lock(&work->lock);
    uint64_t done_bytes = work->done_bytes;
    pthread_mutex_unlock(&work->lock);
    if (progress != NULL && progress->report != NULL)
        progress->report(progress->arg, done_bytes, work->plan->data_bytes);
}

/* Waits for the workers; the caller's progress function runs here, in the caller's thread, and
 * outside the lock. */
static void await_workers(struct work *work, const struct blx_restore_progress *progress)
{
    pthread_mutex_lock(&work->lock);
    while (work->running > 0) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += REPORT_INTERVAL_MS * 1000000L;
        if (until.tv_nsec >= 1000000000L) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000L;
        }
        pthread_cond_timedwait(&work->news, &work->lock, &until);
        pthread_mutex_unlock(&work->lock);
        report(work, progress);
        pthread_mutex_lock(&work->lock);
    }
    pthread_mutex_unlock(&work->lock);
    report(work, progress);
}

static unsigned worker_count(const struct blx_restore_plan *plan)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    size_t count = cpus < 1 ? 1 : cpus > MAX_WORKERS ? MAX_WORKERS : (size_t)cpus;
    return (unsigned)(count < plan->frame_count ? count : plan->frame_count);
}

static int run_workers(struct work *work, const struct blx_restore_progress *progress,
                       struct blx_error *err)
{
    pthread_t threads[MAX_WORKERS];
    unsigned wanted = worker_count(work->plan), started = 0;
    int rc = 0;
    pthread_mutex_lock(&work->lock);
    while (rc == 0 && started < wanted) {
        rc = -pthread_create(&threads[started], NULL, worker, work);
        if (rc == 0)
            started++;
    }
    work->running = started;
    pthread_mutex_unlock(&work->lock);
    if (wanted > 0 && started == 0)
        return blx_error_errno(err, rc, "cannot start a thread for the restore");
    await_workers(work, progress);
    for (unsigned i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    if (work->failure.code != 0)
        return blx_error_set(err, work->failure.code, "%s", work->failure.message);
    return 0;
}

static int write_data(const struct blx_restore_plan *plan, const struct blx_restore_output *output,
                      const struct blx_restore_progress *progress, struct blx_error *err)
{
    struct work work = {.plan = plan, .output = output};
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&work.lock, NULL);
    pthread_cond_init(&work.news, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int rc = run_workers(&work, progress, err);
    pthread_cond_destroy(&work.news);
    pthread_mutex_destroy(&work.lock);
    return rc;
}

static int write_holes(const struct blx_restore_plan *plan, const struct blx_restore_output *output,
                       struct blx_error *err)
{
    int rc = 0;
    for (size_t i = 0; output->device && rc == 0 && i < plan->hole_count; i++)
        rc = blx_restore_output_zero(output, plan->holes[i].start_block << plan->block_shift,
                                     plan->holes[i].block_count << plan->block_shift, err);
    return rc;
}

int blx_restore(const struct blx_store *store, const char *agent_id, blx_timestamp checkpoint,
                const char *volume, const struct blx_restore_target *target,
                const struct blx_restore_progress *progress, struct blx_error *err)
{
    BLX_CLEANUP(blx_restore_plan_done) struct blx_restore_plan plan = {0};
    BLX_CLEANUP(blx_restore_output_done) struct blx_restore_output output = {.fd = -1};
    int rc = blx_restore_plan_make(store, agent_id, checkpoint, volume, &plan, err);
    if (rc == 0)
        rc = blx_restore_output_open(target, plan.size_bytes, &output, err);
    if (rc == 0)
        rc = write_holes(&plan, &output, err);
    if (rc == 0)
        rc = write_data(&plan, &output, progress, err);
    if (rc == 0)
        rc = blx_restore_output_finish(&output, err);
    if (rc < 0)
        blx_error_prefix(err, "cannot restore the checkpoint %llu of '%s'",
                         (unsigned long long)checkpoint, agent_id);
    return rc;
}

int blx_restore_default_path(const struct blx_store *store, const char *agent_id,
                             const struct blx_manifest *manifest, const char *volume,
                             char path[PATH_MAX], struct blx_error *err)
{
    char dir[PATH_MAX];
    int rc = blx_name_check("agent ID", agent_id, err);
    if (rc == 0)
        rc = blx_name_check("volume name", volume, err);
    if (rc == 0)
        rc = blx_path_format(dir, sizeof(dir), err, "%s/restore", store->data_dir);
    if (rc == 0)
        rc = blx_directory_make(dir, err);
    if (rc < 0)
        return rc;
    bool several = manifest->volume_count > 1;
    return blx_path_format(path, PATH_MAX, err, "%s/%s-%llu%s%s.img", dir, agent_id,
                           (unsigned long long)manifest->timestamp, several ? "-" : "",
                           several ? volume : "");
}
