#include "agent/session.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/checkpoint.h"
#include "agent/rescan.h"
#include "agent/rounds.h"
#include "base/log.h"
#include "base/units.h"

enum {
    CONNECT_TIMEOUT_MS = 10 * 1000,
    STACK_BYTES = 512 * 1024,
    GOODBYE_MS = 3000,
    PATIENCE_MS = 200, /* how long a wait takes to notice the session's end */
    /* A block that was not written to for this long may be sent between checkpoints; the second
     * one where checkpoints are far apart. */
    QUIET_MIN_MS = 500,
    QUIET_MAX_MS = 5000,
};

void blx_session_fail(struct blx_session *session, int rc, const struct blx_error *error)
{
    struct blx_agent *agent = session->agent;
    pthread_mutex_lock(&agent->lock);
    if (session->rc == 0) {
        session->rc = rc;
        session->error = *error;
    }
    pthread_cond_broadcast(&agent->changed);
    pthread_mutex_unlock(&agent->lock);
    blx_conn_shutdown(session->conn);
}

bool blx_session_alive(struct blx_session *session)
{
    struct blx_agent *agent = session->agent;
    pthread_mutex_lock(&agent->lock);
    bool alive = session->rc == 0 && !agent->stopping;
    pthread_mutex_unlock(&agent->lock);
    return alive;
}

int blx_session_drain(struct blx_session *session, bool durable, struct blx_error *err)
{
    struct blx_agent *agent = session->agent;
    pthread_mutex_lock(&agent->lock);
    while (session->rc == 0 && !agent->stopping &&
           (session->jobs_handled < session->jobs_submitted ||
            (durable && session->unacked.frames > 0)))
        blx_agent_wait_locked(agent, 1000);
    int rc = session->rc;
    if (rc < 0 && err != NULL)
        *err = session->error;
    else if (agent->stopping)
        rc = blx_error_set(err, -ECANCELED, "the agent is stopping");
    pthread_mutex_unlock(&agent->lock);
    return rc;
}

struct blx_job *blx_session_take_job(struct blx_session *session)
{
    struct blx_job *job = NULL;
    while (job == NULL && blx_session_alive(session))
        job = blx_pipeline_take(session->agent->pipeline, PATIENCE_MS);
    return job;
}

void blx_session_submit(struct blx_session *session, struct blx_job *job)
{
    pthread_mutex_lock(&session->agent->lock);
    session->jobs_submitted++;
    pthread_mutex_unlock(&session->agent->lock);
    blx_pipeline_submit(session->agent->pipeline, job);
}

/* What the volume's pass adds to the status: a rescan compares, then what it found is sent; or a
 * full pass is sent. */
static void measure_pass(const struct blx_volume *volume, uint64_t marked_blocks,
                         struct blx_status *status)
{
    const struct blx_ledger_head *head = volume->ledger.head;
    uint64_t total = head->pass_total_blocks;
    uint64_t done = total > marked_blocks ? total - marked_blocks : 0;
    if (head->rescan_active) {
        total = volume->rescan_total_blocks;
        done = volume->rescan_done_blocks;
        if (total == 0) { /* not counted yet */
            total = head->rescan_end_block;
            done = head->rescan_cursor_block;
        }
        status->state = BLX_AGENT_RESCAN;
    } else if (head->pass_is_rescan && marked_blocks == 0) {
        total = 0;
    } else if (total > 0 && status->state != BLX_AGENT_RESCAN) {
        status->state = head->pass_is_rescan ? BLX_AGENT_RESCAN : BLX_AGENT_FULL_SYNC;
    }
    if (total == 0)
        return;
    status->total_bytes += total << volume->block_shift;
    status->done_bytes += done << volume->block_shift;
    if (status->reason[0] == '\0')
        memcpy(status->reason, head->rescan_active ? head->rescan_reason : head->pass_reason,
               sizeof(status->reason));
}

/* The figures of the status: how much is marked, and how far a pass is. */
static void measure(struct blx_agent *agent, struct blx_status *status)
{
    for (size_t i = 0; i < agent->volume_count; i++) {
        const struct blx_volume *volume = &agent->volumes[i];
        uint64_t marked = blx_volume_marked(volume) + blx_volume_in_flight(volume);
        struct blx_tracker_counters counters = {0};
        blx_tracker_counters(volume->tracker, &counters, NULL);
        status->dirty_bytes += marked << volume->block_shift;
        status->missed_events += counters.missed;
        measure_pass(volume, marked, status);
    }
}

/* The time that is left, at the pace since the pass (or this session) began. */
static uint32_t estimate_seconds(struct blx_session_pace *pace, const struct blx_status *status)
{
    uint64_t now_ns = blx_clock_ns();
    if (pace->state != status->state || pace->total_bytes != status->total_bytes ||
        status->done_bytes < pace->begun_bytes)
        *pace = (struct blx_session_pace){status->state, status->total_bytes, status->done_bytes,
                                          now_ns};
    double done = (double)(status->done_bytes - pace->begun_bytes);
    double seconds = (double)(now_ns - pace->begun_ns) / 1e9;
    if (status->total_bytes <= status->done_bytes || done <= 0 || seconds < 1)
        return 0;
    double left = (double)(status->total_bytes - status->done_bytes) / done * seconds;
    return left >= UINT32_MAX ? UINT32_MAX : (uint32_t)left + 1;
}

void blx_session_set_state(struct blx_session *session, enum blx_agent_state state)
{
    struct blx_status status = {.state = state};
    measure(session->agent, &status);
    status.eta_seconds = estimate_seconds(&session->pace, &status);
    pthread_mutex_lock(&session->agent->lock);
    session->status_news |= memcmp(&session->status, &status, sizeof(status)) != 0;
    session->status = status;
    pthread_mutex_unlock(&session->agent->lock);
}

static int start_threads(struct blx_session *session, struct blx_error *err)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int rc = -pthread_create(&session->sender, &attributes, blx_session_sender, session);
    if (rc == 0)
        rc = -pthread_create(&session->receiver, &attributes, blx_session_receiver, session);
    pthread_attr_destroy(&attributes);
    if (rc == 0)
        return 0;
    rc = blx_error_errno(err, rc, "cannot start the session's threads");
    if (session->sender != 0) {
        blx_session_fail(session, rc, err);
        pthread_mutex_lock(&session->agent->lock);
        session->closing = true;
        pthread_mutex_unlock(&session->agent->lock);
        pthread_join(session->sender, NULL);
    }
    return rc;
}

/* The sender hands the jobs that are still under way back, and says GOODBYE on a connection that
 * lives; one that does not take it in time is cut. */
static void stop_threads(struct blx_session *session)
{
    struct blx_agent *agent = session->agent;
    uint64_t deadline_ns = blx_clock_ns() + GOODBYE_MS * UINT64_C(1000000);
    pthread_mutex_lock(&agent->lock);
    session->closing = true;
    pthread_cond_broadcast(&agent->changed);
    while (!session->sender_done && blx_clock_ns() < deadline_ns)
        blx_agent_wait_locked(agent, GOODBYE_MS);
    pthread_mutex_unlock(&agent->lock);
    blx_conn_shutdown(session->conn);
    pthread_join(session->sender, NULL);
    pthread_join(session->receiver, NULL);
}

static uint64_t quiet_ms(const struct blx_session *session)
{
    uint64_t ms = session->welcome.sync_freq_ms / 8;
    return ms < QUIET_MIN_MS ? QUIET_MIN_MS : ms > QUIET_MAX_MS ? QUIET_MAX_MS : ms;
}

/* Waits until a checkpoint is asked for, `timeout_ms` have passed or the session ends; takes the
 * request, 0 where there is none. */
static uint64_t wait_for_request(struct blx_session *session, uint64_t timeout_ms)
{
    struct blx_agent *agent = session->agent;
    uint64_t deadline_ns = blx_clock_ns() + timeout_ms * 1000000;
    pthread_mutex_lock(&agent->lock);
    while (session->rc == 0 && !agent->stopping &&
           (session->request == 0 || session->committing != 0) && !session->rescan_asked &&
           blx_clock_ns() < deadline_ns)
        blx_agent_wait_locked(agent, (deadline_ns - blx_clock_ns()) / 1000000 + 1);
    uint64_t request = session->committing == 0 ? session->request : 0;
    if (request != 0)
        session->request = 0;
    pthread_mutex_unlock(&agent->lock);
    return request;
}

/* Whether a look at the bitmaps would find what the last one found: nothing. On a large disk a look
 * costs more than all else that an idle agent does. */
static bool is_idle(struct blx_session *session)
{
    uint64_t events = 0;
    for (size_t i = 0; i < session->agent->volume_count; i++) {
        struct blx_tracker_counters counters = {0};
        blx_tracker_counters(session->agent->volumes[i].tracker, &counters, NULL);
        events += counters.events;
    }
    /* A session's first look is never left out: what an earlier one left marked makes no event. */
    bool idle = session->status.state != BLX_AGENT_OFFLINE && events == session->seen_events &&
                session->status.dirty_bytes == 0;
    session->seen_events = events;
    return idle;
}

/* The dispatcher's wish for a rescan. One that is under way serves it as well. */
static void take_rescan_order(struct blx_session *session)
{
    struct blx_agent *agent = session->agent;
    char reason[BLX_TEXT_BYTES];
    pthread_mutex_lock(&agent->lock);
    bool asked = session->rescan_asked;
    session->rescan_asked = false;
    memcpy(reason, session->rescan_reason, sizeof(reason));
    pthread_mutex_unlock(&agent->lock);
    for (size_t i = 0; asked && i < agent->volume_count; i++) {
        struct blx_volume *volume = &agent->volumes[i];
        if (!volume->ledger.head->rescan_active)
            blx_volume_begin_rescan(volume, volume->blocks, reason);
    }
}

/* Between checkpoints: what has gone quiet is sent, what is written to all the time waits for the
 * next cut. */
static int work_in_background(struct blx_session *session, struct blx_error *err)
{
    int rc = blx_agent_check_trackers(session->agent, NULL, err);
    if (rc == 0 && blx_rescan_is_active(session->agent))
        rc = blx_rescan_run(session, err);
    else if (rc == 0 && is_idle(session))
        return 0;
    if (rc == 0)
        rc = blx_round_send(session, BLX_CLAIM_QUIET, true, err);
    for (size_t i = 0; rc == 0 && i < session->agent->volume_count; i++)
        blx_volume_age(&session->agent->volumes[i]);
    blx_session_set_state(session, BLX_AGENT_LIVE);
    return rc;
}

static int control(struct blx_session *session, struct blx_error *err)
{
    int rc = 0;
    uint64_t request = wait_for_request(session, 0);
    while (rc == 0 && blx_session_alive(session)) {
        take_rescan_order(session);
        rc = request != 0 ? blx_checkpoint_take(session, request, err)
                          : work_in_background(session, err);
        request = wait_for_request(session, rc == 0 ? quiet_ms(session) : 0);
    }
    return rc;
}

/* What ended the session: the connection's own reason before ours, which may only follow from it.
 */
static int reason_of_end(struct blx_session *session, int rc, struct blx_error *err)
{
    struct blx_agent *agent = session->agent;
    pthread_mutex_lock(&agent->lock);
    if (agent->stopping) {
        rc = 0;
    } else if (session->rc != 0) {
        rc = session->rc;
        *err = session->error;
    }
    pthread_mutex_unlock(&agent->lock);
    return rc;
}

static void forget_in_flight(struct blx_session *session)
{
    blx_unacked_done(&session->unacked);
    for (size_t i = 0; i < session->agent->volume_count; i++)
        blx_volume_requeue_all(&session->agent->volumes[i]);
}

int blx_session_run(struct blx_agent *agent, bool *lived, struct blx_error *err)
{
    struct blx_session *session = calloc(1, sizeof(*session));
    *lived = false;
    if (session == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot make a session");
    session->agent = agent;
    int rc = blx_tls_connect(agent->tls, agent->config->dispatcher_addr, CONNECT_TIMEOUT_MS,
                             &session->conn, err);
    if (rc == 0)
        rc = blx_session_handshake(session, err);
    if (rc == 0)
        rc = start_threads(session, err);
    if (rc == 0) {
        *lived = true;
        blx_log_info("connected to the dispatcher at '%s'", agent->config->dispatcher_addr);
        rc = control(session, err);
        /* Before the threads are stopped, which ends the connection as well. */
        rc = reason_of_end(session, rc, err);
        stop_threads(session);
    }
    forget_in_flight(session);
    blx_conn_free(session->conn);
    free(session);
    return rc;
}
