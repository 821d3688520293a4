/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/session/session_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/session/apart_private.h"
#include "base/assert.h"
#include "base/log.h"
#include "base/text.h"
#include "base/units.h"

enum {
    STACK_BYTES = 512 * 1024,
    GOODBYE_MS = 3000,
    PATIENCE_MS = 200, /* within this time a wait notices the session's end */
};

/* The drawing in session_private.h, backwards. */
static bool may_enter(enum agent_session_state from, enum agent_session_state to)
{
    switch (to) {
    case AGENT_SESSION_GREETING:
        return false;
    case AGENT_SESSION_LIVE:
        return from == AGENT_SESSION_GREETING;
    case AGENT_SESSION_FAILED:
    case AGENT_SESSION_CLOSING:
        return from == AGENT_SESSION_LIVE;
    case AGENT_SESSION_CLOSING_FAILED:
        return from == AGENT_SESSION_FAILED || from == AGENT_SESSION_CLOSING;
    case AGENT_SESSION_ENDED:
        return from == AGENT_SESSION_CLOSING || from == AGENT_SESSION_CLOSING_FAILED;
    }
    return false;
}

static void enter_locked(struct agent_session *session, enum agent_session_state state)
{
    blx_assert_held(&session->agent->lock);
    blx_assert(may_enter(session->state, state));
    session->state = state;
    pthread_cond_broadcast(&session->agent->changed);
}

void agent_session_fail(struct agent_session *session, int rc, const struct blx_error *error)
{
    struct agent *agent = session->agent;
    blx_assert(rc < 0);
    pthread_mutex_lock(&agent->lock);
    if (session->state == AGENT_SESSION_LIVE || session->state == AGENT_SESSION_CLOSING) {
        session->rc = rc;
        session->error = *error;
        enter_locked(session, session->state == AGENT_SESSION_LIVE ? AGENT_SESSION_FAILED
                                                                   : AGENT_SESSION_CLOSING_FAILED);
    }
    pthread_mutex_unlock(&agent->lock);
    blx_conn_shutdown(session->conn);
}

static void close_locked(struct agent_session *session)
{
    enter_locked(session, session->state == AGENT_SESSION_LIVE ? AGENT_SESSION_CLOSING
                                                               : AGENT_SESSION_CLOSING_FAILED);
}

void agent_session_leave(struct agent_session *session)
{
    pthread_mutex_lock(&session->agent->lock);
    enter_locked(session, AGENT_SESSION_ENDED);
    pthread_mutex_unlock(&session->agent->lock);
}

int agent_session_check_locked(const struct agent_session *session, struct blx_error *err)
{
    blx_assert_held(&session->agent->lock);
    const struct agent *agent = session->agent;
    if (session->rc < 0) {
        if (err != NULL)
            *err = session->error;
        return session->rc;
    }
    if (agent->order == AGENT_STOP)
        return blx_error_set(err, -ECANCELED, "the agent is stopping");
    if (agent->order == AGENT_REJOIN)
        return blx_error_set(err, -ERESTART, "another session begins with the changes");
    return 0;
}

bool agent_session_is_alive(struct agent_session *session)
{
    struct agent *agent = session->agent;
    pthread_mutex_lock(&agent->lock);
    bool alive = agent_session_check_locked(session, NULL) == 0;
    pthread_mutex_unlock(&agent->lock);
    return alive;
}

int agent_session_drain(struct agent_session *session, enum agent_drain until,
                        struct blx_error *err)
{
    struct agent *agent = session->agent;
    pthread_mutex_lock(&agent->lock);
    while (agent_session_check_locked(session, NULL) == 0 &&
           (session->jobs_handled < session->jobs_submitted ||
            (until == AGENT_DRAIN_DURABLE && session->unacked.frames > 0))) {
        blx_watchdog_turn(&agent->watchdog, 0);
        agent_wait_locked(agent, 1000);
    }
    int rc = agent_session_check_locked(session, err);
    pthread_mutex_unlock(&agent->lock);
    return rc;
}

struct agent_job *agent_session_take_job(struct agent_session *session)
{
    struct agent_job *job = NULL;
    while (job == NULL && agent_session_is_alive(session)) {
        blx_watchdog_turn(&session->agent->watchdog, 0);
        job = agent_pipeline_take(session->agent->pipeline, PATIENCE_MS);
    }
    return job;
}

void agent_session_submit(struct agent_session *session, struct agent_job *job)
{
    pthread_mutex_lock(&session->agent->lock);
    session->jobs_submitted++;
    pthread_mutex_unlock(&session->agent->lock);
    agent_pipeline_submit(session->agent->pipeline, job);
}

/* Adds the volume's pass to the status and to what is told of its disk: a rescan that compares, the
 * blocks that a rescan found while they are sent, or a full pass. */
static void measure_pass(const struct agent *agent, const struct agent_volume *volume,
                         uint64_t marked_blocks, struct blx_status *status,
                         struct blx_control_disk *disk)
{
    const struct agent_ledger_head *head = volume->ledger.head;
    uint64_t done = 0, total = agent_apart_measure_pass(volume, marked_blocks, &done);
    if (head->rescan_active)
        status->state = BLX_AGENT_RESCAN;
    else if (head->pass_is_rescan && marked_blocks == 0)
        total = 0;
    else if (total > 0 && status->state != BLX_AGENT_RESCAN)
        status->state = head->pass_is_rescan ? BLX_AGENT_RESCAN : BLX_AGENT_FULL_SYNC;
    if (total == 0)
        return;
    disk->total_bytes = total << volume->block_shift;
    disk->done_bytes = done << volume->block_shift;
    status->total_bytes += disk->total_bytes;
    status->done_bytes += disk->done_bytes;
    const char *reason = head->rescan_active ? head->rescan_reason : head->pass_reason;
    blx_text_set(disk->text, reason);
    if (status->reason[0] == '\0' && agent->volume_count > 1)
        snprintf(status->reason, sizeof(status->reason), "'%.60s' at %u %%: %.150s",
                 volume->device.path, (unsigned)((double)done * 100 / (double)total), reason);
    else if (status->reason[0] == '\0')
        memcpy(status->reason, reason, sizeof(status->reason));
}

/* Appends it after "; ". */
static void explain_stuck_filesystem(char reason[BLX_TEXT_BYTES])
{
    char why[BLX_TEXT_BYTES];
    size_t used = strlen(reason);
    if (agent_patience_explain("the filesystem on ", why, sizeof(why)))
        snprintf(reason + used, BLX_TEXT_BYTES - used, "%s%s", used > 0 ? "; " : "", why);
}

static void measure_volume(const struct agent *agent, const struct agent_volume *volume,
                           struct blx_status *status, struct blx_control_disk *disk)
{
    uint64_t marked = agent_volume_count_marked(volume) + agent_volume_count_in_flight(volume);
    struct agent_tracker_counters counters = {0};
    agent_tracker_read_counters(volume->tracker, &counters, NULL);
    *disk = (struct blx_control_disk){.state = BLX_DISK_PROTECTED,
                                      .size_bytes = volume->device.size_bytes,
                                      .dirty_bytes = marked << volume->block_shift,
                                      .unreadable_bytes = atomic_load(&volume->bad.count)
                                                          << volume->block_shift,
                                      .tracked_events = counters.events,
                                      .missed_events = counters.missed};
    blx_text_set(disk->path, volume->device.path);
    blx_text_set(disk->text, volume->ledger.head->reboot_note);
    status->dirty_bytes += disk->dirty_bytes;
    status->unreadable_bytes += disk->unreadable_bytes;
    status->missed_events += counters.missed;
    status->tracked_events += counters.events;
    status->passthrough_commands += counters.passthrough;
    status->unseen_sectors += volume->ledger.head->witness.unseen_sectors;
    measure_pass(agent, volume, marked, status, disk);
}

/* The figures of the status: how much is marked, and how far a pass is. */
static void measure(struct agent *agent, struct blx_status *status, struct blx_control_disk *disks)
{
    for (size_t i = 0; i < agent->volume_count; i++)
        measure_volume(agent, &agent->volumes[i], status, &disks[i]);
    status->unreadable_bytes += agent_refusals_count_bytes(&agent->refusals);
    agent_refusals_explain(&agent->refusals, status->reason);
    explain_stuck_filesystem(status->reason);
}

/* The time that is left, at the pace since the pass (or this session) began. */
static uint32_t estimate_seconds(struct agent_session_pace *pace, const struct blx_status *status)
{
    uint64_t now_ns = blx_clock_ns();
    if (pace->state != status->state || pace->total_bytes != status->total_bytes ||
        status->done_bytes < pace->begun_bytes)
        *pace = (struct agent_session_pace){status->state, status->total_bytes, status->done_bytes,
                                            now_ns};
    double done = (double)(status->done_bytes - pace->begun_bytes);
    double seconds = (double)(now_ns - pace->begun_ns) / 1e9;
    if (status->total_bytes <= status->done_bytes || done <= 0 || seconds < 1)
        return 0;
    double left = (double)(status->total_bytes - status->done_bytes) / done * seconds;
    return left >= UINT32_MAX ? UINT32_MAX : (uint32_t)left + 1;
}

/* Member by member: the bytes between them may differ. */
static bool is_same(const struct blx_status *a, const struct blx_status *b)
{
    return a->state == b->state && a->dirty_bytes == b->dirty_bytes &&
           a->unreadable_bytes == b->unreadable_bytes && a->done_bytes == b->done_bytes &&
           a->total_bytes == b->total_bytes && a->missed_events == b->missed_events &&
           a->tracked_events == b->tracked_events &&
           a->passthrough_commands == b->passthrough_commands &&
           a->unseen_sectors == b->unseen_sectors && a->eta_seconds == b->eta_seconds &&
           strcmp(a->reason, b->reason) == 0;
}

void agent_session_update_status(struct agent_session *session, enum blx_agent_state state)
{
    struct blx_status status = {.state = state};
    struct blx_control_disk disks[BLX_MAX_VOLUMES];
    measure(session->agent, &status, disks);
    status.eta_seconds = estimate_seconds(&session->pace, &status);
    pthread_mutex_lock(&session->agent->lock);
    session->status_is_new |= !is_same(&session->status, &status);
    session->status = status;
    pthread_mutex_unlock(&session->agent->lock);
    agent_self_note_status(session->agent, &status, disks);
}

void agent_session_tell_absence(struct agent *agent)
{
    struct blx_status status = {.state = BLX_AGENT_OFFLINE};
    struct blx_control_disk disks[BLX_MAX_VOLUMES];
    measure(agent, &status, disks);
    status.state = BLX_AGENT_OFFLINE; /* a pass waits for the next session */
    agent_self_note_status(agent, &status, disks);
}

int agent_session_start(struct agent_session *session, struct blx_error *err)
{
    pthread_attr_t attributes;
    pthread_mutex_lock(&session->agent->lock);
    enter_locked(session, AGENT_SESSION_LIVE);
    pthread_mutex_unlock(&session->agent->lock);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int rc = -pthread_create(&session->sender, &attributes, agent_session_sender, session);
    bool has_sender = rc == 0;
    if (rc == 0)
        rc = -pthread_create(&session->receiver, &attributes, agent_session_receiver, session);
    pthread_attr_destroy(&attributes);
    if (rc == 0)
        return 0;
    rc = blx_error_errno(err, rc, "cannot start the session's threads");
    if (has_sender) {
        agent_session_fail(session, rc, err);
        pthread_mutex_lock(&session->agent->lock);
        close_locked(session);
        pthread_mutex_unlock(&session->agent->lock);
        pthread_join(session->sender, NULL);
    }
    return rc;
}

void agent_session_stop(struct agent_session *session)
{
    struct agent *agent = session->agent;
    uint64_t deadline_ns = blx_clock_ns() + GOODBYE_MS * UINT64_C(1000000);
    pthread_mutex_lock(&agent->lock);
    close_locked(session);
    while (session->state != AGENT_SESSION_ENDED && blx_clock_ns() < deadline_ns)
        agent_wait_locked(agent, GOODBYE_MS);
    pthread_mutex_unlock(&agent->lock);
    blx_conn_shutdown(session->conn);
    pthread_join(session->sender, NULL);
    pthread_join(session->receiver, NULL);
}
