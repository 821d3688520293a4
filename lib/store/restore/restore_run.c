/* SPDX-License-Identifier: Apache-2.0 */
#include "store/restore/restore_run_private.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "store/crew_private.h"
#include "store/damage_private.h"

/* More workers than CPUs: to a file one writes while the others read and unpack, and of those that
 * write to a device, or read from it to compare, most wait for one of the two disks. */
enum { MIN_WORKERS = 3, MIN_WAITING_WORKERS = 4, WAITING_WORKERS_PER_CPU = 2 };
enum { MAX_ENTRIES = 1 << 20, OVERLAY_BYTES = 1 << 20 };

/* Shared by the workers. `lock` guards the fields after it; the plan is constant meanwhile. */
_Static_assert((int)BLX_STORED_FRAME_ALIGNMENT % BLX_RESTORE_ALIGNMENT == 0, "direct writes");

struct work {
    const struct blx_restore_source *source;
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
            rc = work->source->lacks(work->source->arg, plan, entry, frame->seq, &cause);
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
    blx_error_set(&whole, err->code, "%s; bytes %s of the image cannot be had%s", err->message,
                  text, work->source->way_out != NULL ? work->source->way_out : "");
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

/* A frame that cannot be had. */
static int miss_frame(struct work *work, const struct blx_plan_frame *planned, int rc,
                      struct blx_error *cause, uint64_t *written_bytes, struct blx_error *err)
{
    bool damage = blx_is_damage(rc);
    if (damage && work->plan->losses != NULL)
        return lose_frame(work, planned, written_bytes, cause->message, err);
    if (damage)
        describe_loss(work, planned, cause);
    return blx_error_copy(err, rc, cause);
}

static int restore_frame(struct work *work, const struct blx_plan_frame *planned,
                         struct blx_stored_frame *stored, uint64_t *written_bytes,
                         struct blx_error *err)
{
    const struct blx_plan *plan = work->plan;
    const struct blx_restore_source *source = work->source;
    struct blx_error cause = {0};
    int rc = source->fetch(source->arg, plan, (size_t)(planned - plan->frames), stored, &cause);
    if (rc < 0)
        return miss_frame(work, planned, rc, &cause, written_bytes, err);
    rc = write_frame(work, planned, &stored->frame, stored->data.bytes, written_bytes, err);
    if (rc == 0 && source->journal != NULL)
        rc = blx_journal_note(source->journal, plan, planned, err);
    return rc;
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
    if (work->source->journal == NULL)
        return;
    struct blx_error err = {0};
    int rc = blx_journal_save(work->source->journal, BLX_JOURNAL_IN_TURN, &err);
    if (rc < 0)
        report_done(work, 0, rc, &err);
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

static int write_data(struct blx_restore_run *run, const struct blx_plan *plan,
                      struct blx_error *err)
{
    struct work work = {.source = run->source,
                        .plan = plan,
                        .output = &run->output,
                        .progress = run->progress,
                        .done_bytes = run->done_bytes,
                        .total_bytes = estimate_total(plan, run->done_bytes)};
    pthread_mutex_init(&work.turn, NULL);
    pthread_mutex_init(&work.lock, NULL);
    int rc = run_workers(&work, err);
    run->done_bytes = work.done_bytes;
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

/* If the work is kept its name is told. */
static void mention_kept(const struct blx_restore_run *run, struct blx_error *err)
{
    const struct blx_restore_output *output = &run->output;
    struct blx_error cause = {0};
    if (err == NULL || !run->opened || !output->keeps || !output->touched ||
        output->partial[0] == '\0')
        return;
    blx_error_set(&cause, err->code,
                  "%.600s; what there is stays in '%.300s', and the same call "
                  "goes on with it",
                  err->message, output->partial);
    *err = cause;
}

/* The other half is the rest of the process's. */
static size_t files_to_keep(void)
{
    struct rlimit files;
    return getrlimit(RLIMIT_NOFILE, &files) == 0 ? (size_t)files.rlim_cur / 2 : 0;
}

static int open_output(struct blx_restore_run *run, uint64_t size_bytes, struct blx_error *err)
{
    if (run->opened)
        return 0;
    run->opened = true;
    int rc = blx_restore_output_open(run->target, size_bytes, &run->output, err);
    if (rc == 0 && run->source->journal != NULL)
        rc = blx_journal_attach(run->source->journal, &run->output, err);
    return rc;
}

/* For a source that compares before it plans. */
static int open_early(struct blx_restore_run *run, struct blx_error *err)
{
    const struct blx_restore_source *source = run->source;
    if (source->opened == NULL)
        return 0;
    int rc = open_output(run, source->size_bytes, err);
    if (rc == 0)
        source->opened(source->arg, &run->output);
    return rc;
}

/* From *start_block to where a plan ends, which is the next one's start; 0: the volume's end. */
static int restore_window(struct blx_restore_run *run, uint64_t *start_block, struct blx_error *err)
{
    const struct blx_restore_source *source = run->source;
    size_t max_entries = run->target->max_entries;
    BLX_CLEANUP(blx_plan_done)
    struct blx_plan plan = {
        .max_entries = max_entries != 0 ? max_entries : MAX_ENTRIES,
        .max_files = files_to_keep(),
        .start_block = *start_block,
        .losses = run->target->losses,
        .key = source->key,
    };
    int rc = source->plan(source->arg, &plan, err);
    if (rc == 0)
        rc = open_output(run, plan.size_bytes, err);
    if (rc == 0)
        rc = write_holes(&plan, &run->output, err);
    if (rc == 0)
        rc = write_data(run, &plan, err);
    if (rc == 0 && source->journal != NULL)
        rc = blx_journal_advance(source->journal, plan.end_block, err);
    if (rc == 0)
        *start_block = plan.end_block;
    return rc;
}

/* After the checkpoint's own blocks. Nothing lies below what was written. */
static int write_overlay(struct blx_restore_run *run, struct blx_error *err)
{
    struct blx_overlay *overlay = run->target->overlay;
    struct blx_restore_output *output = &run->output;
    const struct blx_overlay_below below = {.offset_bytes = run->target->overlay_place,
                                            .size_bytes = output->size_bytes};
    struct blx_overlay_run written = {0};
    if (overlay == NULL)
        return 0;
    BLX_CLEANUP_FREE void *buffer = aligned_alloc(BLX_RESTORE_ALIGNMENT, OVERLAY_BYTES);
    if (buffer == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot restore '%s'", output->path);
    int rc = 0;
    while (rc == 0 &&
           blx_overlay_find(overlay, &below, written.offset_bytes + written.bytes, &written)) {
        written.bytes = written.bytes < OVERLAY_BYTES ? written.bytes : OVERLAY_BYTES;
        rc = blx_overlay_read(overlay, &below, buffer, (size_t)written.bytes, written.offset_bytes);
        if (rc < 0)
            return blx_error_errno(err, rc, "cannot read what was written over '%s'", output->path);
        rc = blx_restore_output_write(output, buffer, written.bytes, written.offset_bytes, err);
    }
    return rc;
}

/* A window that goes on after a cut is compared from its start again, and counts once. */
static void count_again(struct blx_restore_run *run, uint64_t counted_bytes)
{
    if (run->opened && run->output.checks)
        atomic_store(&run->output.written_bytes, counted_bytes);
}

/* What is written so far counts, however it goes on. An error here is that of the target, which has
 * been told, or costs what was written since the last time. */
static void keep_journal(const struct blx_restore_run *run)
{
    if (run->source->journal != NULL && run->opened && run->output.fd >= 0)
        blx_journal_save(run->source->journal, BLX_JOURNAL_NOW, NULL);
}

int blx_restore_run(struct blx_restore_run *run, struct blx_error *err)
{
    const struct blx_restore_source *source = run->source;
    uint64_t start_block = source->journal != NULL ? blx_journal_get_window(source->journal) : 0;
    bool more = true;
    int rc = open_early(run, err);
    while (rc == 0 && more) {
        struct blx_error cause = {0};
        uint64_t counted_bytes = run->opened ? run->output.written_bytes : 0;
        rc = restore_window(run, &start_block, &cause);
        more = rc < 0 || start_block != 0;
        if (rc < 0)
            count_again(run, counted_bytes);
        if (rc < 0)
            keep_journal(run);
        if (rc < 0 && source->recover != NULL)
            rc = source->recover(source->arg, rc, &cause);
        if (rc < 0)
            blx_error_copy(err, rc, &cause);
    }
    if (rc == 0)
        rc = write_overlay(run, err);
    if (rc == 0)
        rc = blx_restore_output_finish(&run->output, err);
    if (rc == 0 && run->target->written_bytes != NULL)
        *run->target->written_bytes = run->output.written_bytes;
    if (run->target->losses != NULL)
        blx_losses_sort(run->target->losses);
    if (rc < 0)
        mention_kept(run, err);
    if (run->opened)
        blx_restore_output_done(&run->output);
    return rc;
}
