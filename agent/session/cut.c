/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/session/cut_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "agent/freeze/hook.h"
#include "agent/disk/mounts.h"
#include "agent/session/apart_private.h"
#include "agent/session/evidence_private.h"
#include "agent/session/rounds_private.h"
#include "base/log.h"
#include "base/units.h"

enum { BUFFER_SPARE_BYTES = 8 * 1024 * 1024 };

/* The surroundings of an attempt. */
struct scene {
    struct agent_session *session;
    struct agent *agent;
    struct agent_mounts mounts;
    struct agent_evidence evidence;
    char hooks[BLX_TEXT_BYTES];       /* those that failed; empty if none did */
    uint32_t flags;                   /* the same as bits of enum blx_cut_flags */
    uint64_t queued[BLX_MAX_VOLUMES]; /* writes started, when the reading began */
    bool busy[BLX_MAX_VOLUMES];       /* a write was in flight, or began, while we read */
    struct agent_freeze_result frozen;
    bool froze;
    bool overflow; /* more was marked than the buffer holds */
    /* Written while they were read frozen, outside of what is frozen, if `disturbed`. */
    bool disturbed;
    size_t disturbed_volume;
    uint64_t disturbed_block;
};

void agent_cut_done(struct agent_cut *cut)
{
    if (cut->buffer != NULL)
        munmap(cut->buffer, cut->buffer_bytes);
    free(cut->jobs);
    *cut = (struct agent_cut){0};
}

void agent_cut_retry(struct agent_cut *cut)
{
    struct agent_cut_history history = cut->history;
    history.disturbed |= cut->trouble == AGENT_CUT_DISTURBED;
    history.overflowed |= cut->trouble == AGENT_CUT_OVERFLOW;
    agent_cut_done(cut);
    cut->history = history;
}

/* Twice as much as is marked now and a little more, within the configured limit; all of that after
 * an attempt for which it was too little. It is touched, so that no page is missing during the
 * freeze. */
static int make_buffer(struct agent_session *session, struct agent_cut *cut, struct blx_error *err)
{
    const struct agent *agent = session->agent;
    uint64_t limit = agent->config->freeze_buffer_bytes;
    uint64_t wanted = 2 * agent_round_count_marked_bytes(session) + BUFFER_SPARE_BYTES;
    wanted = wanted < limit && !cut->history.overflowed ? wanted : limit;
    size_t capacity = (size_t)(wanted / AGENT_BATCH_DATA_BYTES) + agent->volume_count;
    size_t bytes = capacity * AGENT_BATCH_DATA_BYTES;
    void *buffer = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (buffer == MAP_FAILED)
        return blx_error_errno(err, -errno,
                               "cannot get a freeze buffer of %zu bytes (freeze-buffer limits it)",
                               bytes);
    cut->buffer = buffer;
    cut->buffer_bytes = bytes;
    cut->jobs = calloc(capacity, sizeof(*cut->jobs));
    if (cut->jobs == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot get a freeze buffer");
    /* calloc's pages may not be there yet. */
    memset(cut->jobs, 0, capacity * sizeof(*cut->jobs));
    cut->capacity = capacity;
    for (size_t i = 0; i < capacity; i++)
        cut->jobs[i].batch.data = cut->buffer + i * AGENT_BATCH_DATA_BYTES;
    return 0;
}

/* From here on every write that begins is noticed. */
static int watch_writers(struct scene *scene, struct blx_error *err)
{
    for (size_t v = 0; v < scene->agent->volume_count; v++) {
        if (agent_apart_is(scene->session, v))
            continue;
        const struct agent_volume *volume = &scene->agent->volumes[v];
        struct agent_tracker_counters counters;
        int rc = agent_tracker_read_counters(volume->tracker, &counters, err);
        if (rc < 0)
            return rc;
        scene->queued[v] = counters.queued;
        scene->busy[v] = agent_device_count_writes(&volume->device) != 0;
    }
    return 0;
}

static int look_for_writers(struct scene *scene, struct blx_error *err)
{
    for (size_t v = 0; v < scene->agent->volume_count; v++) {
        if (agent_apart_is(scene->session, v))
            continue;
        struct agent_tracker_counters counters;
        int rc = agent_tracker_read_counters(scene->agent->volumes[v].tracker, &counters, err);
        if (rc < 0)
            return rc;
        scene->busy[v] |= counters.queued != scene->queued[v];
    }
    return 0;
}

/* Evidence outranks belief (evidence_private.h). Still frozen. */
static void look_for_evidence(struct scene *scene)
{
    const struct agent *agent = scene->agent;
    for (size_t v = 0; v < agent->volume_count && !scene->disturbed; v++) {
        if (agent_apart_is(scene->session, v))
            continue;
        scene->disturbed_volume = v;
        scene->disturbed =
            agent_evidence_find_writer(&scene->evidence, agent, v, &scene->disturbed_block);
        if (!scene->disturbed && !agent_evidence_covers(&scene->evidence, agent, v))
            scene->disturbed = scene->busy[v];
    }
}

/* Claims all marked blocks of all volumes, as far as the buffer goes. */
static void claim_remainder(struct scene *scene, struct agent_cut *cut)
{
    for (size_t v = 0; v < scene->agent->volume_count; v++) {
        if (agent_apart_is(scene->session, v))
            continue;
        struct agent_volume *volume = &scene->agent->volumes[v];
        uint64_t cursor = 0;
        scene->busy[v] |= agent_tracker_mark_owed(volume->tracker);
        while (cut->count < cut->capacity &&
               agent_batch_claim(&cut->jobs[cut->count].batch, volume, AGENT_CLAIM_ALL, &cursor))
            cut->count++;
        if (cut->count == cut->capacity && agent_volume_has_marked(volume, cursor))
            scene->overflow = true;
    }
}

/* Remembers how fast the remainder was read. How much the next pre-copy may leave for the freeze
 * depends on it. */
static void learn_read_rate(struct agent *agent, const struct agent_cut *cut, uint64_t elapsed_ns)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < cut->count; i++)
        bytes += agent_batch_count_blocks(&cut->jobs[i].batch)
                 << cut->jobs[i].batch.volume->block_shift;
    if (bytes < 1024 * 1024 || elapsed_ns == 0)
        return;
    uint64_t rate = (uint64_t)((double)bytes / ((double)elapsed_ns / 1e9));
    agent->read_bytes_per_second = (agent->read_bytes_per_second + rate) / 2;
}

/* If the limit passes before all is read none of it counts. What can be thawed is thawed then, and
 * does not wait for a disk that hangs. */
static int read_jobs(struct scene *scene, struct agent_cut *cut)
{
    struct agent *agent = scene->agent;
    if (!scene->froze)
        return agent_pipeline_read(agent->pipeline, cut->jobs, cut->count);
    struct agent_reading reading = {.jobs = cut->jobs, .count = cut->count};
    agent_pipeline_begin(agent->pipeline, &reading);
    if (agent_pipeline_wait(agent->pipeline, &reading, agent->config->freeze_limit_ms))
        return agent_pipeline_get_failure(&reading);
    agent_thaw(agent->freezer, &cut->freeze_ns, NULL);
    agent_pipeline_wait(agent->pipeline, &reading, BLX_FOR_EVER);
    return -ETIMEDOUT;
}

/* The reading itself; frozen or not. */
static int read_remainder(struct scene *scene, struct agent_cut *cut, struct blx_error *err)
{
    struct agent *agent = scene->agent;
    int rc = watch_writers(scene, err);
    if (rc < 0)
        return rc;
    cut->realtime_ns = blx_clock_realtime_ns();
    uint64_t started_ns = blx_clock_ns();
    cut->at_ns = started_ns;
    claim_remainder(scene, cut);
    rc = read_jobs(scene, cut);
    if (rc == -ETIME || rc == -ETIMEDOUT)
        return blx_error_set(err, rc, "a disk did not answer while the last blocks were read");
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot read the last blocks for the cut");
    for (size_t i = 0; i < cut->count; i++)
        agent_batch_leave_out_bad(&cut->jobs[i].batch);
    learn_read_rate(agent, cut, blx_clock_ns() - started_ns);
    rc = look_for_writers(scene, err);
    if (rc == 0 && scene->froze)
        look_for_evidence(scene);
    return rc;
}

static bool is_quiet(const struct scene *scene)
{
    for (size_t v = 0; v < scene->agent->volume_count; v++) {
        if (scene->busy[v])
            return false;
    }
    return true;
}

/* Adds a sentence to the note; what does not fit is cut off. */
__attribute__((format(printf, 2, 3))) static void add_note(char note[BLX_TEXT_BYTES],
                                                           const char *format, ...)
{
    size_t used = strlen(note);
    va_list args;
    if (used > 0 && used + 2 < BLX_TEXT_BYTES) {
        memcpy(note + used, "; ", 3);
        used += 2;
    }
    va_start(args, format);
    vsnprintf(note + used, BLX_TEXT_BYTES - used, format, args);
    va_end(args);
}

/* Why not everything was frozen: nothing if it was. What kept the frozen attempts from counting is
 * the reason for one without a freeze. */
static void note_unfrozen(const struct scene *scene, const struct agent_cut_history *history,
                          char note[BLX_TEXT_BYTES])
{
    if (scene->mounts.count > 0 && !scene->froze && scene->frozen.not_frozen[0] == '\0')
        add_note(note, "the filesystems were not frozen%s%s", history->cause != NULL ? ": " : "",
                 history->cause != NULL ? history->cause : "");
    else if (scene->frozen.not_frozen[0] != '\0')
        add_note(note, "'%s' %s", scene->frozen.not_frozen, scene->frozen.cause);
    else if (scene->mounts.count == 0 && scene->mounts.doubt_count == 0)
        add_note(note, "no filesystem is mounted on the devices");
    for (size_t i = 0; i < scene->mounts.doubt_count; i++)
        add_note(note, "%s", scene->mounts.doubts[i].text);
}

/* If nothing was frozen, everybody wrote. Whoever spoilt the frozen attempts is still named. */
static void note_writer(const struct scene *scene, const struct agent_cut_history *history,
                        char note[BLX_TEXT_BYTES])
{
    if (scene->disturbed)
        add_note(note,
                 "not of one instant: something that was not frozen wrote to '%s' while it was "
                 "read",
                 history->writer);
    else
        add_note(note, "something wrote to the devices while they were read");
    if (!scene->disturbed && history->disturbed)
        add_note(note, "what wrote to '%s' could not be frozen", history->writer);
}

/* I7: the label claims no more than was achieved. -EAGAIN if the cut is not worth keeping. */
static int judge(const struct scene *scene, enum agent_cut_kind kind, struct agent_cut *cut)
{
    cut->note[0] = '\0';
    if (scene->disturbed) {
        cut->trouble = AGENT_CUT_DISTURBED;
        agent_evidence_name(scene->agent, scene->disturbed_volume, scene->disturbed_block,
                            cut->history.writer);
    }
    if (scene->overflow) {
        static const char cause[] = "more changed than the freeze buffer holds (freeze-buffer)";
        cut->trouble = AGENT_CUT_OVERFLOW;
        cut->history.cause = cause;
        add_note(cut->note, "%s", cause);
        return -EAGAIN;
    }
    bool undisturbed = scene->froze ? !scene->disturbed : is_quiet(scene);
    bool all_frozen =
        scene->froze && scene->frozen.not_frozen[0] == '\0' && scene->mounts.doubt_count == 0;
    if (!undisturbed)
        note_writer(scene, &cut->history, cut->note);
    if (!all_frozen)
        note_unfrozen(scene, &cut->history, cut->note);
    if (undisturbed) {
        cut->consistency = all_frozen ? BLX_CONSISTENCY_FILESYSTEM : BLX_CONSISTENCY_CRASH;
        return 0;
    }
    cut->consistency = BLX_CONSISTENCY_NONE;
    return kind == AGENT_CUT_ANYHOW || kind == AGENT_CUT_FROZEN_ANYHOW ? 0 : -EAGAIN;
}

/* Freezes, reads, checks that the freeze held, thaws. Nothing in here may allocate, log to a disk
 * or wait for the network. */
static int read_frozen(struct scene *scene, struct agent_cut *cut, struct blx_error *err)
{
    struct agent *agent = scene->agent;
    blx_log_hold();
    int rc = agent_freeze(agent->freezer, &scene->mounts, agent->config->freeze_limit_ms,
                          &scene->frozen, err);
    if (rc == 0) {
        scene->froze = scene->frozen.frozen > 0;
        rc = read_remainder(scene, cut, err);
        bool expired = agent_freeze_expired(agent->freezer);
        struct blx_error thaw_error = {0};
        uint64_t frozen_ns = 0;
        int thawed = agent_thaw(agent->freezer, &frozen_ns, &thaw_error);
        cut->freeze_ns = cut->freeze_ns > 0 ? cut->freeze_ns : frozen_ns;
        if (rc == 0 && expired)
            rc = -ETIMEDOUT;
        if (thawed < 0)
            blx_log_error("%s", thaw_error.message);
        if (rc == 0 && thawed < 0)
            rc = -ECANCELED;
    }
    blx_log_release();
    return rc;
}

/* A guard that was killed is replaced, and so is one that waits for a filesystem that hangs. */
static void replace_guard(struct agent *agent)
{
    struct blx_error error = {0};
    blx_log_warning("the freeze guard has died or does not answer: a new one is started");
    agent_freezer_stop(agent->freezer);
    agent->freezer = NULL;
    if (agent_freezer_start(agent->config->run_dir, &agent->freezer, &error) < 0)
        blx_log_error("%s", error.message);
}

/* Why the attempt failed, if it is worth another one; NULL for other errors. */
static const char *why_not(int rc)
{
    switch (rc) {
    case -EPIPE:
        return "the freeze guard had died or did not answer";
    case -ETIMEDOUT:
        return "the freeze took longer than the freeze-limit";
    case -ETIME:
        return "a disk did not answer within the freeze-limit";
    case -ECANCELED:
        return "somebody else thawed a filesystem";
    default:
        return NULL;
    }
}

static int attempt_frozen(struct scene *scene, struct agent_cut *cut, struct blx_error *err)
{
    struct agent *agent = scene->agent;
    if (agent->freezer == NULL)
        replace_guard(agent);
    int rc = agent->freezer != NULL ? read_frozen(scene, cut, err) : -EPIPE;
    if (rc == -EPIPE && agent->freezer != NULL)
        replace_guard(agent);
    const char *note = why_not(rc);
    if (note != NULL) {
        cut->trouble = AGENT_CUT_UNHELD;
        cut->history.cause = note;
        snprintf(cut->note, sizeof(cut->note), "%s", note);
        blx_error_clear(err);
        return -EAGAIN;
    }
    return rc;
}

static int attempt_in_scene(struct agent_session *session, enum agent_cut_kind kind,
                            struct scene *scene, struct agent_cut *cut, struct blx_error *err)
{
    struct agent *agent = session->agent;
    int rc = make_buffer(session, cut, err);
    if (rc < 0)
        return rc;
    rc = agent_evidence_prepare(agent, &scene->mounts, &scene->evidence, err);
    if (rc < 0)
        return rc;
    bool freeze = kind == AGENT_CUT_FROZEN || kind == AGENT_CUT_FROZEN_ANYHOW;
    rc = freeze && scene->mounts.count > 0 ? attempt_frozen(scene, cut, err)
                                           : read_remainder(scene, cut, err);
    /* The last blocks of a disk that is pulled out fail as damaged ones do, and the data that its
     * filesystem could no longer write are in no block. */
    if (agent_has_changed_device(agent, err))
        return -ESTALE;
    if (rc < 0)
        return rc;
    /* I4, before the cut counts: an event that was missed may belong into it. */
    bool doubtful;
    rc = agent_check_trackers(agent, &doubtful, err);
    if (rc == 0 && doubtful) {
        snprintf(cut->note, sizeof(cut->note), "tracking became doubtful");
        rc = -EAGAIN;
    }
    return rc == 0 ? judge(scene, kind, cut) : rc;
}

static void run_hook(struct scene *scene, const char *name, const char *command,
                     enum blx_cut_flags failed)
{
    struct agent *agent = scene->agent;
    struct blx_error error = {0};
    int rc = agent_hook_run(name, command, agent->config->id, agent->config->hook_timeout_ms,
                            &agent->watchdog, &error);
    if (rc == 0)
        return;
    blx_log_warning("%s", error.message);
    scene->flags |= failed;
    if (rc == -ETIMEDOUT)
        add_note(scene->hooks, "the %s command took too long and was killed", name);
    else
        add_note(scene->hooks, "the %s command failed", name);
}

/* The data that the hook made the applications write go to the disk now; otherwise the freeze would
 * take longer. The mounts are looked for after the hook, which may have mounted some. */
static int prepare_applications(struct scene *scene, struct blx_error *err)
{
    struct agent *agent = scene->agent;
    struct blx_error error = {0};
    run_hook(scene, "pre-freeze", agent->config->pre_freeze, BLX_CUT_PRE_FREEZE_FAILED);
    int rc = agent_mounts_find(scene->session->in_step, scene->session->in_step_count,
                               &scene->mounts, err);
    if (rc == 0 && agent->config->pre_freeze != NULL &&
        agent_mounts_sync(&scene->mounts, &error) < 0)
        blx_log_warning("%s", error.message);
    return rc;
}

int agent_cut_attempt(struct agent_session *session, enum agent_cut_kind kind,
                      struct agent_cut *cut, struct blx_error *err)
{
    struct agent *agent = session->agent;
    struct scene *scene = calloc(1, sizeof(*scene));
    if (scene == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot prepare a cut");
    scene->session = session;
    scene->agent = agent;
    int rc = prepare_applications(scene, err);
    if (rc == 0)
        rc = attempt_in_scene(session, kind, scene, cut, err);
    agent_mounts_done(&scene->mounts); /* before the hook: it may take long, or unmount one */
    run_hook(scene, "post-thaw", agent->config->post_thaw, BLX_CUT_POST_THAW_FAILED);
    if (scene->hooks[0] != '\0')
        add_note(cut->note, "%s", scene->hooks);
    cut->flags = scene->flags;
    agent_evidence_done(&scene->evidence);
    free(scene);
    return rc;
}

void agent_cut_send(struct agent_session *session, const struct agent_cut *cut)
{
    for (size_t i = 0; i < cut->count; i++) {
        const struct agent_batch *batch = &cut->jobs[i].batch;
        if (batch->extent_count == 0)
            continue;
        struct agent_job *job = agent_session_take_job(session);
        if (job == NULL)
            return; /* the session ends: the rest stays in flight, and is marked again then */
        uint8_t *data = job->batch.data;
        job->batch = *batch;
        job->batch.data = data;
        memcpy(data, batch->data, agent_batch_count_blocks(batch) << batch->volume->block_shift);
        job->is_read = cut->jobs[i].rc == 0;
        agent_session_submit(session, job);
    }
}
