/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sender: numbers packed frames in the order of sending, remembers the blocks in them, and
 * sends them within the window and the bandwidth-limit. Between frames it sends PING and STATUS, so
 * that only one thread ever waits for a full socket.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "agent/session/session_private.h"
#include "base/assert.h"
#include "base/log.h"
#include "base/units.h"

enum { TICK_MS = 200, NS_PER_MS = 1000 * 1000, STATUS_NS = 1000 * NS_PER_MS };

static int send_status(struct agent_session *session, struct blx_error *err)
{
    struct blx_message message = {.type = BLX_MESSAGE_STATUS};
    pthread_mutex_lock(&session->agent->lock);
    bool news = session->status_is_new;
    message.status = session->status;
    session->status_is_new = false;
    pthread_mutex_unlock(&session->agent->lock);
    return news ? blx_conn_send(session->conn, &message, err) : 0;
}

static bool take_ping_order(struct agent_session *session)
{
    pthread_mutex_lock(&session->agent->lock);
    bool asked = session->wants_ping;
    session->wants_ping = false;
    pthread_mutex_unlock(&session->agent->lock);
    return asked;
}

/* STATUS when its time has come, and a sign of life: asked for, or due. */
static void tick(struct agent_session *session)
{
    struct blx_error error = {0};
    uint64_t now = blx_clock_ns();
    int rc = 0;
    if (now - session->told_status_ns > STATUS_NS) {
        session->told_status_ns = now;
        rc = send_status(session, &error);
    }
    uint64_t silence_ns = now - blx_conn_last_sent_ns(session->conn);
    if (rc == 0 &&
        (take_ping_order(session) || silence_ns > session->welcome.heartbeat_ms * 1000000 / 3))
        rc = blx_conn_send(session->conn, &(struct blx_message){.type = BLX_MESSAGE_PING}, &error);
    if (rc < 0)
        agent_session_fail(session, rc, &error);
}

/* How long a frame of that size must still wait, at most until the next tick: for room in the
 * window, or for the limiter. A frame larger than the window goes alone. */
static uint64_t turn_in_ms_locked(struct agent_session *session, size_t frame_bytes)
{
    blx_assert_held(&session->agent->lock);
    if (session->unacked.frames > 0 &&
        session->unacked.bytes + frame_bytes > session->welcome.window_bytes)
        return TICK_MS;
    time_t now = time(NULL);
    struct tm when;
    localtime_r(&now, &when);
    uint64_t wait_ns = blx_limiter_get_wait_ns(&session->agent->limiter, blx_clock_ns(), &when);
    uint64_t wait_ms = (wait_ns + NS_PER_MS - 1) / NS_PER_MS;
    return wait_ms < TICK_MS ? wait_ms : TICK_MS;
}

/* Waits until a frame may be sent; meanwhile it goes on sending signs of life. False if the session
 * has failed or is closing. */
static bool wait_for_turn(struct agent_session *session, size_t frame_bytes)
{
    struct agent *agent = session->agent;
    uint64_t wait_ms;
    pthread_mutex_lock(&agent->lock);
    while (session->state == AGENT_SESSION_LIVE &&
           (wait_ms = turn_in_ms_locked(session, frame_bytes)) > 0) {
        agent_wait_locked(agent, wait_ms);
        pthread_mutex_unlock(&agent->lock);
        tick(session);
        pthread_mutex_lock(&agent->lock);
    }
    bool open = session->state == AGENT_SESSION_LIVE;
    if (open)
        blx_limiter_take(&agent->limiter, frame_bytes);
    pthread_mutex_unlock(&agent->lock);
    return open;
}

/* The frame's number and its blocks are noted before it is sent: the acknowledgement may be here
 * before send() returns. */
static int number_frame(struct agent_session *session, struct agent_job *job, struct blx_error *err)
{
    struct agent_volume *volume = job->batch.volume;
    pthread_mutex_lock(&session->agent->lock);
    uint64_t seq = volume->next_seq;
    int rc = agent_unacked_add(&session->unacked, &job->batch, seq, job->frame_bytes);
    if (rc == 0)
        volume->next_seq++;
    pthread_mutex_unlock(&session->agent->lock);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot send a frame of '%s'", volume->device.path);
    blx_frame_seal(job->frame, seq);
    return 0;
}

static int send_frame(struct agent_session *session, struct agent_job *job, struct blx_error *err)
{
    int rc = number_frame(session, job, err);
    if (rc < 0)
        return rc;
    struct blx_message message = {
        .type = BLX_MESSAGE_FRAME,
        .frame = {.volume = job->batch.volume->index,
                  .bytes = job->frame,
                  .frame_bytes = job->frame_bytes},
    };
    return blx_conn_send(session->conn, &message, err);
}

/* If the device is gone, or does not answer, all its jobs fail. Nothing more is logged about them:
 * the next session leaves it out. */
static bool ends_session(struct agent_session *session, const struct agent_device *device)
{
    struct agent *agent = session->agent;
    char why[BLX_TEXT_BYTES];
    if (agent_device_find_change(device) == NULL && !agent_device_is_stuck(device, why))
        return false;
    pthread_mutex_lock(&agent->lock);
    agent_rejoin_locked(agent);
    pthread_mutex_unlock(&agent->lock);
    return true;
}

static void report_failed_job(struct agent_session *session, const struct agent_job *job)
{
    const struct agent_volume *volume = job->batch.volume;
    const struct blx_extent *first = &job->batch.extents[0];
    const struct blx_extent *last = &job->batch.extents[job->batch.extent_count - 1];
    uint64_t start = first->start_block << volume->block_shift;
    uint64_t end = (last->start_block + last->block_count) << volume->block_shift;
    blx_log_error("'%s': cannot read bytes %llu to %llu: %s: they stay marked", volume->device.path,
                  (unsigned long long)start, (unsigned long long)end,
                  job->error.code != 0 ? job->error.message : strerror(-job->rc));
    pthread_mutex_lock(&session->agent->lock);
    session->read_failures++;
    pthread_mutex_unlock(&session->agent->lock);
}

static void handle_job(struct agent_session *session, struct agent_job *job)
{
    struct blx_error error = {0};
    if (job->rc < 0) {
        if (!ends_session(session, &job->batch.volume->device))
            report_failed_job(session, job);
        agent_volume_requeue(job->batch.volume, job->batch.extents, job->batch.extent_count);
    } else if (job->batch.extent_count > 0 && wait_for_turn(session, job->frame_bytes)) {
        int rc = send_frame(session, job, &error);
        if (rc < 0)
            agent_session_fail(session, rc, &error);
    }
    /* On a dead session the blocks stay in flight until agent_volume_requeue_all(). */
    agent_pipeline_release(session->agent->pipeline, job);
    pthread_mutex_lock(&session->agent->lock);
    session->jobs_handled++;
    pthread_cond_broadcast(&session->agent->changed);
    pthread_mutex_unlock(&session->agent->lock);
}

/* True until every submitted job is back and no more will come. `work`: jobs are under way. */
static bool goes_on(struct agent_session *session, bool *alive, bool *work)
{
    pthread_mutex_lock(&session->agent->lock);
    enum agent_session_state state = session->state;
    *work = session->jobs_handled < session->jobs_submitted;
    pthread_mutex_unlock(&session->agent->lock);
    *alive = state == AGENT_SESSION_LIVE || state == AGENT_SESSION_CLOSING;
    return state == AGENT_SESSION_LIVE || state == AGENT_SESSION_FAILED || *work;
}

void *agent_session_sender(void *arg)
{
    struct agent_session *session = arg;
    struct agent_pipeline *pipeline = session->agent->pipeline;
    bool alive, work;
    while (goes_on(session, &alive, &work)) {
        uint64_t begun_ns = blx_clock_ns();
        struct agent_job *job = agent_pipeline_pop(pipeline, TICK_MS);
        uint64_t popped_ns = blx_clock_ns();
        if (job != NULL) {
            handle_job(session, job);
            agent_pipeline_report(pipeline, blx_clock_ns() - popped_ns,
                                  work ? popped_ns - begun_ns : 0);
        }
        if (alive)
            tick(session);
    }
    if (alive)
        blx_conn_send(session->conn, &(struct blx_message){.type = BLX_MESSAGE_GOODBYE}, NULL);
    agent_session_leave(session);
    return NULL;
}
