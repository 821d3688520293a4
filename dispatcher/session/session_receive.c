/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop in which a session spends its life: it follows the registry's orders, receives, syncs
 * and acknowledges when nothing more has arrived, sends PINGs, and notices an agent that is silent.
 */
#include <errno.h>
#include <poll.h>

#include "base/assert.h"
#include "base/units.h"
#include "dispatcher/session/session_private.h"
#include "dispatcher/threads.h"

static const char *ending_text(enum dispatcher_registry_ending ending)
{
    switch (ending) {
    case DISPATCHER_ENDING_STOPPING:
        return "the dispatcher is stopping";
    case DISPATCHER_ENDING_REVOKED:
        return "this agent's certificate was revoked, or its name went to another machine";
    case DISPATCHER_ENDING_RENAMED:
        return "the dispatcher gives this agent another name; connect again";
    case DISPATCHER_ENDING_MOVED:
        return "this agent was moved to another dispatcher; connect there";
    default:
        return "another session of this agent took over";
    }
}

static int follow_orders(struct dispatcher_session *session, struct blx_error *err)
{
    struct dispatcher_registry_orders orders;
    dispatcher_registry_take_orders(&session->dispatcher->registry, &session->entry, &orders);
    if (orders.ending != DISPATCHER_ENDING_NONE) {
        session->ending = orders.ending;
        return blx_error_set(err, -ECANCELED, "%s", ending_text(orders.ending));
    }
    session->policy_waits |= orders.policy;
    int rc = 0;
    if (orders.authority && session->state == DISPATCHER_SESSION_FOLLOWING)
        rc = dispatcher_session_tell_authority(session, err);
    if (rc == 0 && orders.rescan)
        rc = dispatcher_session_order_rescan(session, err);
    if (rc == 0 && orders.ping)
        rc = dispatcher_session_send(session, &(struct blx_message){.type = BLX_MESSAGE_PING}, err);
    if (rc < 0)
        return rc;
    if (orders.request == 0)
        return 0;
    const struct blx_message request = {
        .type = BLX_MESSAGE_CHECKPOINT_REQUEST,
        .checkpoint_request = {.request = orders.request},
    };
    return dispatcher_session_send(session, &request, err);
}

/* While the agent announces its volumes it expects their states, and would end the session. */
static int tell_waiting_policy(struct dispatcher_session *session, struct blx_error *err)
{
    if (!session->policy_waits || !session->announced)
        return 0;
    session->policy_waits = false;
    return dispatcher_session_tell_policy(session, err);
}

/* When the agent counts as dead: after three heartbeats without a word. Before WELCOME it does not
 * know how often to send. */
static uint64_t dead_ns(const struct dispatcher_session *session)
{
    if (session->state < DISPATCHER_SESSION_WELCOMED)
        return UINT64_MAX;
    return session->last_received_ns + 3 * session->dispatcher->heartbeat_ms * 1000000;
}

static uint64_t ping_due_ns(const struct dispatcher_session *session)
{
    if (session->state < DISPATCHER_SESSION_WELCOMED)
        return UINT64_MAX;
    return blx_conn_last_sent_ns(session->conn) + session->dispatcher->heartbeat_ms * 1000000 / 2;
}

static int check_clock(struct dispatcher_session *session, struct blx_error *err)
{
    char silence[BLX_UNIT_TEXT_BYTES];
    uint64_t now_ns = blx_clock_ns();

    if (now_ns >= dead_ns(session)) {
        session->failures |= DISPATCHER_SESSION_LINK_LOST;
        return blx_error_set(
            err, -ETIMEDOUT, "the agent was silent for %s",
            blx_duration_format((now_ns - session->last_received_ns) / 1000000, silence));
    }
    if (now_ns >= ping_due_ns(session)) {
        const struct blx_message ping = {.type = BLX_MESSAGE_PING};
        return dispatcher_session_send(session, &ping, err);
    }
    return 0;
}

static int poll_timeout_ms(uint64_t until_ns)
{
    if (until_ns == UINT64_MAX)
        return -1;
    uint64_t now_ns = blx_clock_ns();
    if (until_ns <= now_ns)
        return 0;
    uint64_t ms = (until_ns - now_ns) / 1000000 + 1;
    return ms < INT32_MAX ? (int)ms : INT32_MAX;
}

/* When the first of the questions that wait is to be answered. If its turn has not come yet, an
 * order tells when that is so. */
static uint64_t answer_due_ns(const struct dispatcher_session *session)
{
    if (session->image.asked_count == 0 ||
        atomic_load(&session->image.turn.state) != DISPATCHER_TURN_HELD)
        return UINT64_MAX;
    return session->image.rest_until_ns;
}

/* Sleeps until a message, an order or a deadline arrives. */
static void sleep_until_news(const struct dispatcher_session *session, uint64_t deadline_ns)
{
    struct pollfd fds[] = {
        {.fd = session->entry.socket_fd, .events = POLLIN},
        {.fd = session->entry.wake_fd, .events = POLLIN},
    };
    uint64_t until_ns = deadline_ns;
    if (dead_ns(session) < until_ns)
        until_ns = dead_ns(session);
    if (ping_due_ns(session) < until_ns)
        until_ns = ping_due_ns(session);
    if (answer_due_ns(session) < until_ns)
        until_ns = answer_due_ns(session);
    uint64_t idle_ns = blx_conn_idle_ns(session->conn);
    if (idle_ns < until_ns)
        until_ns = idle_ns;
    if (idle_ns == UINT64_MAX)
        dispatcher_thread_trim();
    poll(fds, 2, poll_timeout_ms(until_ns)); /* the caller checks everything again in any case */
}

/* No message is waiting: the time to do everything else. */
static int idle(struct dispatcher_session *session, uint64_t deadline_ns, struct blx_error *err)
{
    /* Messages that arrive during the sync are taken before the clock is checked: one of them may
     * be the sign of life that it would miss. */
    if (session->writer != NULL && blx_agent_writer_count_unsynced(session->writer) > 0)
        return dispatcher_session_sync(session, err);
    int rc = check_clock(session, err);
    if (rc == 0)
        sleep_until_news(session, deadline_ns);
    return rc;
}

int dispatcher_session_receive(struct dispatcher_session *session, uint64_t deadline_ns,
                               struct blx_message *message, struct blx_error *err)
{
    blx_assert(session->state < DISPATCHER_SESSION_ENDED);
    for (;;) {
        int rc = 0;
        if (atomic_load(&session->entry.has_orders))
            rc = follow_orders(session, err);
        if (rc == 0)
            rc = tell_waiting_policy(session, err);
        if (rc < 0)
            return rc;
        if (blx_clock_ns() >= answer_due_ns(session))
            return 1;
        /* In every turn: a peer that keeps sending is never idle. */
        if (blx_clock_ns() >= deadline_ns)
            return blx_error_set(err, -ETIMEDOUT, "the agent did not answer in time");
        struct blx_error receive_error = {0};
        rc = blx_conn_recv(session->conn, 0, message, &receive_error);
        if (rc == 0) {
            session->last_received_ns = blx_clock_ns();
            /* Before WELCOME the agent knows no heartbeat, and a PING is as wrong as anything else
             * that was not asked for. */
            if (message->type != BLX_MESSAGE_PING || session->state < DISPATCHER_SESSION_WELCOMED)
                return 0;
        } else if (rc != -ETIMEDOUT) {
            if (rc != -EBADMSG)
                session->failures |= DISPATCHER_SESSION_LINK_LOST;
            return blx_error_set(err, rc, "%s", receive_error.message);
        } else if ((rc = idle(session, deadline_ns, err)) < 0) {
            return rc;
        }
    }
}
