/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/session/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/encryption.h"
#include "agent/session/apart_private.h"
#include "agent/session/checkpoint_private.h"
#include "agent/session/renewal_private.h"
#include "agent/session/rescan_private.h"
#include "agent/session/rounds_private.h"
#include "agent/session/session_private.h"
#include "agent/trimmed.h"
#include "base/log.h"
#include "base/units.h"

enum {
    CONNECT_TIMEOUT_MS = 10 * 1000,
    /* A block that was not written to for this long may be sent between checkpoints. The second one
     * counts if checkpoints are far apart. */
    QUIET_MIN_MS = 500,
    QUIET_MAX_MS = 5000,
    HELD_MS = 20, /* between two looks whether a checkpoint that was held can begin */
};

static uint64_t quiet_ms(struct agent_session *session)
{
    pthread_mutex_lock(&session->agent->lock);
    uint64_t ms = session->sync_freq_ms / 8;
    pthread_mutex_unlock(&session->agent->lock);
    return ms < QUIET_MIN_MS ? QUIET_MIN_MS : ms > QUIET_MAX_MS ? QUIET_MAX_MS : ms;
}

/* Waits until a checkpoint is asked for, `timeout_ms` have passed or the session ends. Takes the
 * request; 0 if there is none. */
static uint64_t wait_for_request(struct agent_session *session, uint64_t timeout_ms)
{
    struct agent *agent = session->agent;
    uint64_t deadline_ns = blx_clock_ns() + timeout_ms * 1000000;
    pthread_mutex_lock(&agent->lock);
    while (agent_session_check_locked(session, NULL) == 0 &&
           (session->request == 0 || session->committing != 0) && !session->wants_rescan &&
           blx_clock_ns() < deadline_ns)
        agent_wait_locked(agent, (deadline_ns - blx_clock_ns()) / 1000000 + 1);
    uint64_t request = session->committing == 0 ? session->request : 0;
    if (request != 0)
        session->request = 0;
    pthread_mutex_unlock(&agent->lock);
    return request;
}

/* Whether a look at the bitmaps would find nothing, as the last one did. On a large disk a look
 * costs more than everything else that an idle agent does. */
static bool is_idle(struct agent_session *session)
{
    uint64_t events = 0;
    for (size_t i = 0; i < session->agent->volume_count; i++) {
        struct agent_tracker_counters counters = {0};
        agent_tracker_read_counters(session->agent->volumes[i].tracker, &counters, NULL);
        events += counters.events;
    }
    /* A session's first look is never left out: blocks that an earlier session left marked make no
     * event. */
    bool idle = session->status.state != BLX_AGENT_OFFLINE && events == session->seen_events &&
                session->status.dirty_bytes == 0;
    session->seen_events = events;
    return idle;
}

/* Between checkpoints: blocks that have gone quiet are sent. Those that are written to all the time
 * wait for the next cut. */
static int work_in_background(struct agent_session *session, struct blx_error *err)
{
    bool tried = false;
    int rc = agent_check_trackers(session->agent, NULL, err);
    if (rc == 0 && agent_rescan_is_active(session)) {
        rc = agent_rescan_run(session, AGENT_ROUND_YIELDS, err);
    } else if (rc == 0) {
        rc = agent_round_retry(session, AGENT_RETRY_IN_BACKGROUND, &tried, err);
        if (rc == 0 && !tried && is_idle(session))
            return 0;
    }
    if (rc == 0) {
        agent_forget_trimmed(session->agent);
        rc = agent_round_send(session, AGENT_CLAIM_QUIET, AGENT_ROUND_YIELDS, err);
    }
    for (size_t i = 0; rc == 0 && i < session->agent->volume_count; i++)
        agent_volume_age(&session->agent->volumes[i]);
    agent_session_update_status(session, BLX_AGENT_LIVE);
    return rc;
}

/* Only the status is sent, with the amount of data that waits. Tracking goes on, and doubts about
 * it are noted. */
static int wait_while_paused(struct agent_session *session, struct blx_error *err)
{
    int rc = agent_check_trackers(session->agent, NULL, err);
    if (rc == 0 && !is_idle(session))
        agent_session_update_status(session, BLX_AGENT_LIVE);
    return rc;
}

static int follow(struct agent_session *session, struct blx_error *err)
{
    int rc = 0;
    uint64_t request = wait_for_request(session, 0);
    while (rc == 0 && agent_session_is_alive(session)) {
        blx_watchdog_turn(&session->agent->watchdog, 0);
        agent_rescan_take_order(session);
        rc = agent_renewal_step(session, err);
        if (rc < 0)
            break;
        session->held_request = 0;
        if (agent_is_paused(session->agent)) {
            rc = wait_while_paused(session, err);
        } else if (request != 0 && agent_apart_can_begin(session)) {
            rc = agent_checkpoint_take(session, request, err);
        } else {
            session->held_request = request;
            rc = work_in_background(session, err);
        }
        bool hurries = session->held_request != 0 || agent_apart_has_share(session);
        uint64_t pause_ms = hurries ? HELD_MS : quiet_ms(session);
        uint64_t next = wait_for_request(session, rc == 0 ? pause_ms : 0);
        request = next != 0 ? next : session->held_request;
    }
    return rc;
}

/* Why the session ended. The connection's own reason comes before `rc`, which may only be a
 * consequence. */
static int reason_of_end(struct agent_session *session, int rc, struct blx_error *err)
{
    struct agent *agent = session->agent;
    pthread_mutex_lock(&agent->lock);
    int end = agent_session_check_locked(session, err);
    if (agent->order == AGENT_STOP)
        rc = 0;
    else if (end < 0)
        rc = end;
    pthread_mutex_unlock(&agent->lock);
    return rc;
}

static void forget_in_flight(struct agent_session *session)
{
    agent_unacked_done(&session->unacked);
    for (size_t i = 0; i < session->agent->volume_count; i++)
        agent_volume_requeue_all(&session->agent->volumes[i]);
}

/* Under the lock, although the session's threads have ended. */
static enum agent_session_use find_use(struct agent_session *session)
{
    pthread_mutex_lock(&session->agent->lock);
    enum agent_session_use use = session->has_stored ? AGENT_SESSION_STORED : AGENT_SESSION_BEGAN;
    pthread_mutex_unlock(&session->agent->lock);
    return use;
}

int agent_control_run(struct agent *agent, enum agent_session_use *use, struct blx_error *err)
{
    struct agent_session *session = calloc(1, sizeof(*session));
    *use = AGENT_SESSION_NONE;
    if (session == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot make a session");
    session->agent = agent;
    agent_identity_refresh(&agent->identity, agent->config);
    int rc = blx_tls_connect(agent->identity.tls, agent->addresses.current, CONNECT_TIMEOUT_MS,
                             &session->conn, err);
    if (rc == 0)
        rc = agent_session_handshake(session, err);
    if (rc == 0) {
        agent_encryption_note(agent);
        rc = agent_session_start(session, err);
    }
    if (rc == 0) {
        blx_log_info("connected to the dispatcher at '%s'", agent->addresses.current);
        agent_self_note_session(agent, &session->welcome);
        rc = follow(session, err);
        /* Before the threads are stopped, which ends the connection as well. */
        rc = reason_of_end(session, rc, err);
        agent_session_stop(session);
        *use = find_use(session);
    }
    forget_in_flight(session);
    agent_renewal_done(session);
    blx_conn_free(session->conn);
    free(session);
    agent_session_tell_absence(agent);
    return rc;
}
