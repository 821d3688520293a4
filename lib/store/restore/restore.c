/* SPDX-License-Identifier: Apache-2.0 */
#include "store/restore/restore.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "store/crew_private.h"
#include "store/damage_private.h"
#include "store/directory_private.h"
#include "store/restore/restore_output_private.h"
#include "store/view/plan_private.h"
#include "store/view/stored_frame_private.h"
#include "store/view/volume_secret_private.h"

/* More workers than CPUs: to a file one writes while the others read and unpack, and of those that
 * write to a device, or read from it to compare, most wait for one of the two disks. */
enum { MIN_WORKERS = 3, MIN_WAITING_WORKERS = 4, WAITING_WORKERS_PER_CPU = 2 };
enum { MAX_ENTRIES = 1 << 20, OVERLAY_BYTES = 1 << 20 };

/* Shared by the workers. `lock` guards the fields after it; the plan is constant meanwhile. */
_Static_assert((int)BLX_STORED_FRAME_ALIGNMENT % BLX_RESTORE_ALIGNMENT == 0, "direct writes");

struct work {
    const struct blx_plan *plan;
    struct blx_restore_output *output;
    const struct blx_restore_progress *progress; /* or NULL */
    pthread_mutex_t turn;                        /* of the worker that writes to a file */
    pthread_mutex_t lock;
    size_t next_frame;
    uint64_t done_bytes;
    uint64_t total_bytes;
    struct blx_error failure; /* code 0: none */
    /* and the plan's losses */
};

/* What is lost reads as zeros, on a device too. */
static int lose_entry(struct work *work, const struct blx_index_entry *entry, const char *cause,
                      struct blx_error *err)
{
    uint64_t offset = entry->extent.start_block << work->plan->block_shift;
    uint64_t bytes = entry->extent.block_count << work->plan->block_shift;
    int rc = blx_restore_output_zero(work->output, offset, bytes, err);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&work->lock);
    rc = blx_losses_add(work->plan->losses, offset, bytes, BLX_LOSS_ZEROS, cause);
    pthread_mutex_unlock(&work->lock);
    return rc < 0 ? blx_error_errno(err, rc, "cannot restore") : 0;
}

static int write_entries(struct work *work, const struct blx_plan_frame *planned,
                         const struct blx_frame *frame, const uint8_t *data,
                         uint64_t *written_bytes, struct blx_error *err)
{
    const struct blx_plan *plan = work->plan;
    struct blx_stored_cursor cursor = {.frame = frame};
    for (size_t i = 0; i < planned->count; i++) {
        const struct blx_index_entry *entry = &plan->index.entries[planned->first + i];
        uint64_t bytes = entry->extent.block_count << plan->block_shift;
        int rc;
        if (blx_stored_frame_holds(&cursor, entry)) {
            rc = blx_restore_output_write(
                work->output, data + ((uint64_t)entry->data_block << plan->block_shift), bytes,
                entry->extent.start_block << plan->block_shift, err);
        } else {
            struct blx_error cause = {0};
            rc = blx_stored_frame_lacks(plan->segments[entry->segment], frame->seq, &cause);
            rc = plan->losses != NULL ? lose_entry(work, entry, cause.message, err)
                                      : blx_error_copy(err, rc, &cause);
        }
        if (rc < 0)
            return rc;
        *written_bytes += bytes;
    }
    return 0;
}

/* A file has one lock for its writers, and the kernel lets them spin for it, on processors that
 * others want for unpacking. So they take turns, frame by frame. To a device they write all at
 * once, and if the target is compared first they read it all at once, too. */
static bool takes_turns(const struct work *work)
{
    return !work->output->device && !work->output->compares;
}

static int write_frame(struct work *work, const struct blx_plan_frame *planned,
                       const struct blx_frame *frame, const uint8_t *data, uint64_t *written_bytes,
                       struct blx_error *err)
{
    if (!takes_turns(work))
        return write_entries(work, planned, frame, data, written_bytes, err);
    pthread_mutex_lock(&work->turn);
    int rc = write_entries(work, planned, frame, data, written_bytes, err);
    pthread_mutex_unlock(&work->turn);
    return rc;
}

/* Which blocks of which file are lost: without --force that is all that is said. */
static void describe_loss(const struct work *work, const struct blx_plan_frame *planned,
                          struct blx_error *err)
{
    const struct blx_plan *plan = work->plan;
    char text[512];
    size_t used = 0, told = 0;
    for (; told < planned->count && used < sizeof(text) - 128; told++) {
        const struct blx_extent *extent = &plan->index.entries[planned->first + told].extent;
        uint64_t offset = extent->start_block << plan->block_shift;
        used += (size_t)snprintf(
            text + used, sizeof(text) - used, "%s%llu-%llu", told == 0 ? "" : ", ",
            (unsigned long long)offset,
            (unsigned long long)(offset + (extent->block_count << plan->block_shift) - 1));
    }
    if (told < planned->count)
        snprintf(text + used, sizeof(text) - used, " and %zu more", planned->count - told);
    struct blx_error whole = {0};
    blx_error_set(&whole, err->code,
                  "%s; bytes %s of the image cannot be had (--force writes the rest)", err->message,
                  text);
    *err = whole;
}

static int lose_frame(struct work *work, const struct blx_plan_frame *planned,
                      uint64_t *written_bytes, const char *cause, struct blx_error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < planned->count; i++) {
        const struct blx_index_entry *entry = &work->plan->index.entries[planned->first + i];
        rc = lose_entry(work, entry, cause, err);
        *written_bytes += entry->extent.block_count << work->plan->block_shift;
    }
    return rc;
}

static int restore_frame(struct work *work, const struct blx_plan_frame *planned,
                         struct blx_stored_frame *stored, uint64_t *written_bytes,
                         struct blx_error *err)
{
    const struct blx_plan *plan = work->plan;
    const struct blx_index_entry *entry = &plan->index.entries[planned->first];
    struct blx_error cause = {0};
    int rc =
        blx_stored_frame_read(stored, plan->segments[entry->segment], entry, plan->key, &cause);
    if (rc == 0)
        return write_frame(work, planned, &stored->frame, stored->data.bytes, written_bytes, err);
    bool damage = blx_is_damage(rc);
    if (damage && plan->losses != NULL)
        return lose_frame(work, planned, written_bytes, cause.message, err);
    if (damage)
        describe_loss(work, planned, &cause);
    return blx_error_copy(err, rc, &cause);
}

/* The next frame that is to be done, NULL if there is none or somebody failed. */
static const struct blx_plan_frame *take_frame(struct work *work)
{
    const struct blx_plan_frame *planned = NULL;
    pthread_mutex_lock(&work->lock);
    if (work->failure.code == 0 && work->next_frame < work->plan->frame_count)
        planned = &work->plan->frames[work->next_frame++];
    pthread_mutex_unlock(&work->lock);
    return planned;
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

static void restore_frames(void *arg)
{
    struct work *work = arg;
    BLX_CLEANUP(blx_stored_frame_done) struct blx_stored_frame stored = {0};
    struct blx_error err = {0};
    const struct blx_plan_frame *planned;
    while ((planned = take_frame(work)) != NULL) {
        uint64_t bytes = 0;
        int rc = restore_frame(work, planned, &stored, &bytes, &err);
        report_done(work, bytes, rc, &err);
    }
}

static void report(void *arg)
{
    struct work *work = arg;
    pthread_mutex_lock(&work->lock);
    uint64_t done_bytes = work->done_bytes;
    pthread_mutex_unlock(&work->lock);
    if (work->progress != NULL && work->progress->report != NULL)
        work->progress->report(work->progress->arg, done_bytes, work->total_bytes);
    blx_restore_output_flush(work->output);
}

static unsigned worker_count(const struct work *work)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    size_t cpus = online < 1 ? 1 : (size_t)online;
    bool turns = takes_turns(work);
    size_t least = turns ? MIN_WORKERS : MIN_WAITING_WORKERS;
    size_t most = turns ? cpus + 1 : cpus * WAITING_WORKERS_PER_CPU;
    return blx_crew_size(most < least ? least : most, work->plan->data_bytes,
                         work->plan->frame_count);
}

static int run_workers(struct work *work, struct blx_error *err)
{
    const struct blx_crew crew = {
        .workers = worker_count(work), .work = restore_frames, .report = report, .arg = work};
    int rc = blx_crew_run(&crew);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot start a thread for the restore");
    if (work->failure.code != 0)
        return blx_error_set(err, work->failure.code, "%s", work->failure.message);
    return 0;
}

/* The restore's data, as far as the windows up to this one tell. */
static uint64_t estimate_total(const struct blx_plan *plan, uint64_t done_bytes)
{
    uint64_t known_bytes = done_bytes + plan->data_bytes;
    uint64_t covered_bytes = plan->end_block << plan->block_shift;
    if (plan->end_block == 0 || covered_bytes >= plan->size_bytes)
        return known_bytes;
    double left = (double)(plan->size_bytes - covered_bytes) / (double)covered_bytes;
    return known_bytes + (uint64_t)((double)known_bytes * left);
}

static int write_data(const struct blx_plan *plan, struct blx_restore_output *output,
                      const struct blx_restore_progress *progress, uint64_t *done_bytes,
                      struct blx_error *err)
{
    struct work work = {.plan = plan,
                        .output = output,
                        .progress = progress,
                        .done_bytes = *done_bytes,
                        .total_bytes = estimate_total(plan, *done_bytes)};
    pthread_mutex_init(&work.turn, NULL);
    pthread_mutex_init(&work.lock, NULL);
    int rc = run_workers(&work, err);
    *done_bytes = work.done_bytes;
    pthread_mutex_destroy(&work.lock);
    pthread_mutex_destroy(&work.turn);
    return rc;
}

static int write_holes(const struct blx_plan *plan, struct blx_restore_output *output,
                       struct blx_error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < plan->hole_count; i++)
        rc = blx_restore_output_zero(output, plan->holes[i].start_block << plan->block_shift,
                                     plan->holes[i].block_count << plan->block_shift, err);
    return rc;
}

/* What is restored, and how far it has come. */
struct job {
    struct blx_agent_store agent;
    const char *volume;
    blx_timestamp checkpoint;
    const struct blx_restore_target *target;
    const struct blx_restore_progress *progress;
    struct blx_restore_output output;
    struct blx_volume_secret secret;
    bool opened;
    uint64_t done_bytes;
};

/* Where the work is kept its name is told. */
static void mention_kept(const struct job *job, struct blx_error *err)
{
    const struct blx_restore_output *output = &job->output;
    struct blx_error cause = {0};
    if (err == NULL || !job->opened || !output->keeps || !output->touched ||
        output->partial[0] == '\0')
        return;
    blx_error_set(&cause, err->code,
                  "%.600s; what there is stays in '%.300s', and the same call "
                  "goes on with it",
                  err->message, output->partial);
    *err = cause;
}

static void job_done(struct job *job)
{
    blx_volume_secret_wipe(&job->secret);
    if (job->opened)
        blx_restore_output_done(&job->output);
}

/* The other half is the rest of the process's. */
static size_t files_to_keep(void)
{
    struct rlimit files;
    return getrlimit(RLIMIT_NOFILE, &files) == 0 ? (size_t)files.rlim_cur / 2 : 0;
}

/* From *start_block to where a plan ends, which is the next one's start; 0: the volume's end. */
static int restore_window(struct job *job, uint64_t *start_block, struct blx_error *err)
{
    size_t max_entries = job->target->max_entries;
    BLX_CLEANUP(blx_plan_done)
    struct blx_plan plan = {
        .max_entries = max_entries != 0 ? max_entries : MAX_ENTRIES,
        .max_files = files_to_keep(),
        .start_block = *start_block,
        .losses = job->target->losses,
        .key = blx_volume_secret_key(&job->secret),
    };
    int rc = blx_plan_make(job->agent, job->checkpoint, job->volume, &plan, err);
    if (rc == 0 && !job->opened) {
        job->opened = true;
        rc = blx_restore_output_open(job->target, plan.size_bytes, &job->output, err);
    }
    if (rc == 0)
        rc = write_holes(&plan, &job->output, err);
    if (rc == 0)
        rc = write_data(&plan, &job->output, job->progress, &job->done_bytes, err);
    *start_block = plan.end_block;
    return rc;
}

/* After the checkpoint's own blocks. Nothing lies below what was written. */
static int write_overlay(struct job *job, struct blx_error *err)
{
    struct blx_overlay *overlay = job->target->overlay;
    struct blx_restore_output *output = &job->output;
    const struct blx_overlay_below below = {.offset_bytes = job->target->overlay_place,
                                            .size_bytes = output->size_bytes};
    struct blx_overlay_run run = {0};
    if (overlay == NULL)
        return 0;
    BLX_CLEANUP_FREE void *buffer = aligned_alloc(BLX_RESTORE_ALIGNMENT, OVERLAY_BYTES);
    if (buffer == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot restore '%s'", job->volume);
    int rc = 0;
    while (rc == 0 && blx_overlay_find(overlay, &below, run.offset_bytes + run.bytes, &run)) {
        run.bytes = run.bytes < OVERLAY_BYTES ? run.bytes : OVERLAY_BYTES;
        rc = blx_overlay_read(overlay, &below, buffer, (size_t)run.bytes, run.offset_bytes);
        if (rc < 0)
            return blx_error_errno(err, rc, "cannot read what was written over '%s'", job->volume);
        rc = blx_restore_output_write(output, buffer, run.bytes, run.offset_bytes, err);
    }
    return rc;
}

int blx_restore(struct blx_agent_store agent, blx_timestamp checkpoint, const char *volume,
                const struct blx_restore_target *target,
                const struct blx_restore_progress *progress, struct blx_error *err)
{
    BLX_CLEANUP(job_done)
    struct job job = {.agent = agent,
                      .volume = volume,
                      .checkpoint = checkpoint,
                      .target = target,
                      .progress = progress};
    /* Each plan holds the checkpoint, too; this is for the time between two. */
    BLX_CLEANUP(blx_agent_lock_close) struct blx_agent_lock lock = {.fd = -1};
    uint64_t start_block = 0;
    int rc = blx_agent_lock_begin(agent, checkpoint, &lock, err);
    if (rc == 0)
        rc = blx_volume_secret_find(agent, checkpoint, volume, target->keys, &job.secret, err);
    bool more = rc == 0;
    blx_agent_lock_release(&lock, BLX_LOCK_CHAINS);
    for (; more; more = rc == 0 && start_block != 0)
        rc = restore_window(&job, &start_block, err);
    if (rc == 0)
        rc = write_overlay(&job, err);
    if (rc == 0)
        rc = blx_restore_output_finish(&job.output, err);
    if (rc == 0 && target->written_bytes != NULL)
        *target->written_bytes = job.output.written_bytes;
    if (target->losses != NULL)
        blx_losses_sort(target->losses);
    if (rc < 0)
        mention_kept(&job, err);
    if (rc < 0)
        blx_error_prefix(err, "cannot restore the checkpoint %llu of '%s'",
                         (unsigned long long)checkpoint, agent.id);
    return rc;
}

int blx_restore_image_path(const char *folder, const char *agent_id,
                           const struct blx_manifest *manifest, const char *volume,
                           enum blx_image_format format, char path[PATH_MAX], struct blx_error *err)
{
    bool several = manifest->volume_count > 1;
    int rc = blx_name_check("agent ID", agent_id, err);
    if (rc == 0)
        rc = blx_name_check("volume name", volume, err);
    if (rc < 0)
        return rc;
    return blx_path_format(path, PATH_MAX, err, "%s/%s-%llu%s%s.%s", folder, agent_id,
                           (unsigned long long)manifest->timestamp, several ? "-" : "",
                           several ? volume : "", blx_image_format_extension(format));
}

int blx_restore_default_path(struct blx_agent_store agent, const struct blx_manifest *manifest,
                             const char *volume, enum blx_image_format format, char path[PATH_MAX],
                             struct blx_error *err)
{
    char folder[PATH_MAX];
    int rc = blx_path_format(folder, sizeof(folder), err, "%s/restore", agent.store->data_dir);
    if (rc == 0)
        rc = blx_directory_make(folder, err);
    return rc == 0 ? blx_restore_image_path(folder, agent.id, manifest, volume, format, path, err)
                   : rc;
}
