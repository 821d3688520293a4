/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/session/checkpoint_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/session/apart_private.h"
#include "agent/session/cut_private.h"
#include "agent/disk/mounts.h"
#include "agent/session/rescan_private.h"
#include "agent/session/rounds_private.h"
#include "agent/trimmed.h"
#include "base/log.h"
#include "base/units.h"

enum {
    ROUNDS_MAX = 8,
    FREEZE_ATTEMPTS = 4, /* with the freeze; then a cut without it is accepted, and labelled so */
    FROZEN_ANYHOW_ATTEMPTS = 3, /* if a writer minds no freeze; what is frozen is as it should be */
    QUIET_ATTEMPTS = 10,        /* without a freeze, to find a moment in which nobody writes */
    BACKOFF_MS = 100,
};

/* How much can be read within the freeze budget at the speed measured so far, and fits the
 * buffer. */
static uint64_t remainder_limit(const struct agent *agent)
{
    uint64_t readable = agent->read_bytes_per_second / 1000 * agent->config->freeze_budget_ms;
    uint64_t buffer = agent->config->freeze_buffer_bytes;
    return readable < buffer ? readable : buffer;
}

/* Rounds while they help: each sends the blocks that were marked when it began, and finds those
 * that were marked meanwhile. */
static int pre_copy(struct agent_session *session, struct blx_error *err)
{
    struct agent *agent = session->agent;
    uint64_t limit = remainder_limit(agent);
    uint64_t before = UINT64_MAX;
    int rc = agent_round_send(session, AGENT_CLAIM_QUIET, AGENT_ROUND_COMPLETE, err);
    for (int round = 0; rc == 0 && round < ROUNDS_MAX; round++) {
        uint64_t left = agent_round_count_marked_bytes(session);
        if (left <= limit || left > before / 4 * 3)
            break;
        before = left;
        for (size_t i = 0; i < agent->volume_count; i++)
            agent_volume_age(&agent->volumes[i]);
        rc = agent_round_send(session, AGENT_CLAIM_QUIET, AGENT_ROUND_COMPLETE, err);
        /* A round counts when it has crossed the network: only then is it known how much was
         * written during it. */
        if (rc == 0)
            rc = agent_session_drain(session, AGENT_DRAIN_SENT, err);
        agent_session_update_status(session, BLX_AGENT_CHECKPOINT);
    }
    return rc;
}

/* The page cache goes to the disk now. The freeze would write it out, too, and take 5 to 13 times
 * as long. */
static int sync_filesystems(const struct agent_session *session, struct blx_error *err)
{
    struct agent_mounts mounts = {0};
    int rc = agent_mounts_find(session->in_step, session->in_step_count, &mounts, err);
    if (rc == 0)
        rc = agent_mounts_sync(&mounts, err);
    agent_mounts_done(&mounts);
    return rc;
}

static int prepare(struct agent_session *session, bool freeze, struct blx_error *err)
{
    /* Also if an attempt has shown that tracking is doubtful: then the volume is apart from now on,
     * or is compared first if there is no other. */
    agent_apart_choose(session);
    int rc =
        agent_rescan_is_active(session) ? agent_rescan_run(session, AGENT_ROUND_COMPLETE, err) : 0;
    if (rc == 0)
        rc = pre_copy(session, err);
    if (rc == 0 && freeze) {
        struct blx_error sync_error = {0};
        if (sync_filesystems(session, &sync_error) < 0)
            blx_log_warning("before the freeze: %s", sync_error.message);
        rc = pre_copy(session, err);
    }
    return rc == 0 ? agent_session_drain(session, AGENT_DRAIN_DURABLE, err) : rc;
}

/* Sleeps, but not through the end of the session. */
static void back_off(struct agent_session *session, uint64_t ms)
{
    struct agent *agent = session->agent;
    uint64_t deadline_ns = blx_clock_ns() + ms * 1000000;
    pthread_mutex_lock(&agent->lock);
    while (agent_session_check_locked(session, NULL) == 0 && blx_clock_ns() < deadline_ns) {
        blx_watchdog_turn(&agent->watchdog, 0);
        agent_wait_locked(agent, (deadline_ns - blx_clock_ns()) / 1000000 + 1);
    }
    pthread_mutex_unlock(&agent->lock);
}

/* If freezing was of no use the last time, one attempt shows whether it still is not. What can be
 * frozen stays so while something else writes: then the cut is as good as it gets. */
static enum agent_cut_kind choose_kind(const struct agent *agent, int attempt,
                                       const struct agent_cut_history *history)
{
    int frozen = !agent->config->freeze ? 0 : agent->freezing_failed ? 1 : FREEZE_ATTEMPTS;
    if (attempt >= FREEZE_ATTEMPTS + QUIET_ATTEMPTS)
        return AGENT_CUT_ANYHOW;
    if (attempt < frozen)
        return AGENT_CUT_FROZEN;
    bool helps = history->disturbed && attempt < frozen + FROZEN_ANYHOW_ATTEMPTS;
    return helps ? AGENT_CUT_FROZEN_ANYHOW : AGENT_CUT_QUIET;
}

static bool freezes(enum agent_cut_kind kind)
{
    return kind == AGENT_CUT_FROZEN || kind == AGENT_CUT_FROZEN_ANYHOW;
}

/*
 * The attempts: first with the freeze, then waiting for a quiet moment. The last one counts in any
 * case, and is labelled as it deserves. The blocks of an attempt that does not count are sent:
 * pre-copy would have sent them next.
 */
static int cut_with_attempts(struct agent_session *session, struct agent_cut *cut,
                             struct blx_error *err)
{
    bool useless = false; /* a freeze that a writer does not mind, or that does not hold */
    for (int attempt = 0;; attempt++) {
        enum agent_cut_kind kind = choose_kind(session->agent, attempt, &cut->history);
        int rc = prepare(session, freezes(kind), err);
        if (rc < 0)
            return rc;
        rc = agent_cut_attempt(session, kind, cut, err);
        useless |= cut->trouble == AGENT_CUT_DISTURBED || cut->trouble == AGENT_CUT_UNHELD;
        if (rc == 0)
            session->agent->freezing_failed = useless && kind != AGENT_CUT_FROZEN;
        if (rc != -EAGAIN || kind == AGENT_CUT_ANYHOW)
            return rc;
        if (freezes(kind))
            blx_log_notice("attempt %d at a checkpoint failed: %s", attempt + 1, cut->note);
        agent_cut_send(session, cut);
        agent_cut_retry(cut);
        back_off(session,
                 kind == AGENT_CUT_FROZEN ? (uint64_t)BACKOFF_MS << attempt : BACKOFF_MS / 2);
    }
}

static int send_failed(struct agent_session *session, uint64_t request, const char *reason,
                       struct blx_error *err)
{
    struct blx_message message = {.type = BLX_MESSAGE_CHECKPOINT_FAILED,
                                  .checkpoint_failed = {.request = request}};
    snprintf(message.checkpoint_failed.reason, sizeof(message.checkpoint_failed.reason), "%.*s",
             (int)sizeof(message.checkpoint_failed.reason) - 1, reason);
    blx_log_error("no checkpoint: %s", message.checkpoint_failed.reason);
    agent_self_note_failure(session->agent, message.checkpoint_failed.reason);
    return blx_conn_send(session->conn, &message, err);
}

static int end_of(struct agent_session *session)
{
    pthread_mutex_lock(&session->agent->lock);
    int end = agent_session_check_locked(session, NULL);
    pthread_mutex_unlock(&session->agent->lock);
    return end;
}

/* The session ends because its volumes are no longer the right ones. Whoever asked for the
 * checkpoint is told why. */
static void send_overtaken(struct agent_session *session, uint64_t request)
{
    struct blx_error why = {0};
    const char *reason = "the set of disks changed, or the agent was paused, meanwhile: try again";
    if (agent_has_changed_device(session->agent, &why))
        reason = why.message;
    send_failed(session, request, reason, NULL);
}

/* Adds the blocks and disks that the checkpoint lacks to its note, and their bytes to
 * `missing_bytes`. Returns flags of the cut. */
static uint32_t note_missing_blocks(const struct agent_session *session, char note[BLX_TEXT_BYTES],
                                    uint64_t *missing_bytes)
{
    const struct agent *agent = session->agent;
    uint32_t flags = agent_apart_note(session, note);
    for (size_t i = 0; i < agent->volume_count; i++) {
        const struct agent_volume *volume = &agent->volumes[i];
        uint64_t bytes = atomic_load(&volume->bad.count) << volume->block_shift;
        char size[BLX_UNIT_TEXT_BYTES];
        size_t used = strlen(note);
        if (bytes == 0 || agent_apart_is(session, i))
            continue;
        *missing_bytes += bytes;
        snprintf(note + used, BLX_TEXT_BYTES - used, "%s%s of '%s' could not be read",
                 used > 0 ? "; " : "", blx_size_format(bytes, size), volume->device.path);
    }
    agent_refusals_note(&agent->refusals, note);
    return flags;
}

/*
 * Nothing is under way any more, so the blocks that are bad now are those that the cut lacks.
 * Pre-copy and the cut have read all others, and only this thread claims and ages.
 */
static int send_bad_blocks(struct agent_session *session, struct blx_error *err)
{
    struct agent *agent = session->agent;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < agent->volume_count; i++) {
        if (agent_apart_is(session, i))
            continue;
        struct blx_message message = {.type = BLX_MESSAGE_UNREADABLE,
                                      .unreadable = {.volume = (uint32_t)i}};
        agent_bad_blocks_list(&agent->volumes[i].bad, &message.unreadable);
        if (message.unreadable.extent_count > 0)
            rc = blx_conn_send(session->conn, &message, err);
        agent_bad_blocks_report(&agent->volumes[i].bad, agent->devices[i].path,
                                agent->volumes[i].block_shift);
    }
    return rc;
}

static void fill_message(struct agent_session *session, uint64_t request,
                         const struct agent_cut *cut, struct blx_message *message)
{
    struct agent *agent = session->agent;
    const bool tells_age = (session->welcome.features & BLX_FEATURE_CUT_AGE) != 0;
    const bool tells_flags = tells_age && (session->welcome.features & BLX_FEATURE_CUT_FLAGS) != 0;
    *message = (struct blx_message){
        .type = BLX_MESSAGE_CHECKPOINT,
        .checkpoint = {.request = request,
                       .cut_realtime_ns = cut->realtime_ns,
                       .cut_age_ns = tells_age ? blx_clock_ns() - cut->at_ns : BLX_CUT_AGE_UNKNOWN,
                       .consistency = cut->consistency,
                       .volume_count = (uint32_t)agent->volume_count,
                       .freeze_ns = cut->freeze_ns,
                       .left_out = session->apart},
    };
    memcpy(message->checkpoint.note, cut->note, sizeof(cut->note));
    uint64_t missing_bytes = 0;
    uint32_t flags = note_missing_blocks(session, message->checkpoint.note, &missing_bytes);
    if (tells_flags)
        message->checkpoint.cut_flags = BLX_CUT_FLAGS_TOLD | flags | cut->flags;
    pthread_mutex_lock(&agent->lock);
    for (size_t i = 0; i < agent->volume_count; i++) {
        message->checkpoint.last_seq[i] =
            agent_apart_is(session, i) ? 0 : agent->volumes[i].next_seq - 1;
        agent->volumes[i].ledger.head->checkpoint_unconfirmed = true;
    }
    session->committing = request;
    agent_self_note_cut_locked(agent, &message->checkpoint, missing_bytes);
    pthread_mutex_unlock(&agent->lock);
}

static void report(const struct agent_cut *cut, const char *note, uint64_t left_bytes,
                   uint64_t elapsed_ns)
{
    char left[BLX_UNIT_TEXT_BYTES], frozen[BLX_UNIT_TEXT_BYTES], elapsed[BLX_UNIT_TEXT_BYTES];
    blx_log_info("checkpoint cut: %s%s%s%s, %s read in the cut, frozen for %s, taken in %s",
                 blx_consistency_name(cut->consistency), note[0] != '\0' ? " (" : "", note,
                 note[0] != '\0' ? ")" : "", blx_size_format(left_bytes, left),
                 blx_duration_format(cut->freeze_ns / 1000000, frozen),
                 blx_duration_format(elapsed_ns / 1000000, elapsed));
}

/* A pass that was under way is over: all blocks that it marked were sent before this cut. */
static void end_passes(struct agent_session *session)
{
    for (size_t i = 0; i < session->agent->volume_count; i++)
        if (!agent_apart_is(session, i))
            agent_volume_end_pass(&session->agent->volumes[i]);
}

static uint64_t read_failures(struct agent_session *session)
{
    pthread_mutex_lock(&session->agent->lock);
    uint64_t failures = session->read_failures;
    pthread_mutex_unlock(&session->agent->lock);
    return failures;
}

static int take(struct agent_session *session, uint64_t request, struct agent_cut *cut,
                struct blx_error *err)
{
    uint64_t started_ns = blx_clock_ns();
    uint64_t failures = read_failures(session);
    int rc = agent_round_retry(session, AGENT_RETRY_FOR_CUT, NULL, err);
    if (rc == 0)
        rc = cut_with_attempts(session, cut, err);
    int end = rc < 0 ? end_of(session) : 0;
    if (rc < 0 && end == 0) {
        /* The cut failed, but the session lives: the blocks that the cut had claimed are marked
         * again. */
        for (size_t i = 0; i < cut->count; i++)
            agent_volume_requeue(cut->jobs[i].batch.volume, cut->jobs[i].batch.extents,
                                 cut->jobs[i].batch.extent_count);
        rc = send_failed(session, request, rc == -EAGAIN ? cut->note : err->message, err);
        blx_error_clear(err);
        return rc;
    }
    if (end == -ERESTART)
        send_overtaken(session, request);
    if (rc < 0)
        return rc;
    uint64_t left_bytes = 0;
    for (size_t i = 0; i < cut->count; i++)
        left_bytes += agent_batch_count_blocks(&cut->jobs[i].batch)
                      << cut->jobs[i].batch.volume->block_shift;
    agent_cut_send(session, cut);
    rc = agent_session_drain(session, AGENT_DRAIN_SENT, err);
    if (rc < 0)
        return rc;
    if (read_failures(session) != failures)
        return send_failed(session, request,
                           "a device failed while it was read: the agent's log names it", err);
    end_passes(session);
    struct blx_message message;
    fill_message(session, request, cut, &message);
    report(cut, message.checkpoint.note, left_bytes, blx_clock_ns() - started_ns);
    rc = send_bad_blocks(session, err);
    return rc < 0 ? rc : blx_conn_send(session->conn, &message, err);
}

/* One that does not answer would be noticed anyway, but perhaps only by the freeze. */
static void knock_at_devices(struct agent *agent)
{
    for (size_t i = 0; i < agent->volume_count; i++) {
        blx_watchdog_turn(&agent->watchdog, 0);
        agent_device_knock(&agent->devices[i]);
    }
}

int agent_checkpoint_take(struct agent_session *session, uint64_t request, struct blx_error *err)
{
    knock_at_devices(session->agent);
    if (agent_has_changed_device(session->agent, err))
        return -ESTALE;
    agent_session_update_status(session, BLX_AGENT_CHECKPOINT);
    agent_forget_trimmed(session->agent);
    AGENT_CLEANUP_CUT struct agent_cut cut = {0};
    int rc = take(session, request, &cut, err);
    agent_apart_end(session);
    agent_session_update_status(session, BLX_AGENT_LIVE);
    return rc;
}
