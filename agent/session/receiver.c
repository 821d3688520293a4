/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The receiver: takes the dispatcher's messages while a session lives. It never sends, so that it
 * can always take acknowledgements.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "agent/session/rescan_private.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"

static int on_ack_locked(struct agent_session *session, const struct blx_ack *ack,
                         struct blx_error *err)
{
    blx_assert_held(&session->agent->lock);
    struct agent *agent = session->agent;
    if (ack->volume >= agent->volume_count ||
        ack->durable_seq >= agent->volumes[ack->volume].next_seq)
        return blx_error_set(err, -EPROTO,
                             "the dispatcher acknowledged frame %" PRIu64
                             " of volume %u, which was never sent",
                             ack->durable_seq, ack->volume);
    agent_unacked_settle(&session->unacked, &agent->volumes[ack->volume], ack->durable_seq);
    session->has_stored = true;
    return 0;
}

static void on_checkpoint_done_locked(struct agent_session *session,
                                      const struct blx_checkpoint_done *done)
{
    blx_assert_held(&session->agent->lock);
    struct agent *agent = session->agent;
    if (session->committing != done->request)
        return;
    session->committing = 0;
    session->has_stored = true;
    agent_self_note_commit_locked(agent, done->timestamp);
    for (size_t i = 0; i < agent->volume_count; i++) {
        agent->volumes[i].ledger.head->last_checkpoint = done->timestamp;
        agent->volumes[i].ledger.head->checkpoint_unconfirmed = false;
    }
    blx_log_info("checkpoint %" PRIu64 " is durable", done->timestamp);
}

static void take_certificate_locked(struct agent_session *session,
                                    const struct blx_certificate_message *certificate)
{
    blx_assert_held(&session->agent->lock);
    if (session->renewal != AGENT_RENEWAL_ASKED)
        return;
    session->certificate = *certificate;
    session->renewal = AGENT_RENEWAL_GRANTED;
}

static void take_refusal_locked(struct agent_session *session, const char reason[BLX_TEXT_BYTES])
{
    blx_assert_held(&session->agent->lock);
    if (session->renewal != AGENT_RENEWAL_ASKED)
        return;
    memcpy(session->renewal_reason, reason, sizeof(session->renewal_reason));
    session->renewal = AGENT_RENEWAL_REFUSED;
}

/* Each costs a line in the log, another session, or a look at certificates. */
static int count_order_locked(struct agent_session *session, struct blx_error *err)
{
    static const struct blx_bucket_size size = {.burst = 120, .period_ns = 5 * BLX_NS_PER_S};
    unsigned held_back = 0;
    if (blx_bucket_take(&session->agent->orders, &size, blx_clock_ns(), &held_back))
        return 0;
    return blx_error_set(err, -EPROTO,
                         "the dispatcher sends orders too often: look whether somebody has broken "
                         "into it");
}

static int act_locked(struct agent_session *session, const struct blx_message *message,
                      struct blx_error *err)
{
    blx_assert_held(&session->agent->lock);
    if (message->type == BLX_MESSAGE_RESCAN_REQUEST || message->type == BLX_MESSAGE_AUTHORITY ||
        message->type == BLX_MESSAGE_POLICY) {
        int rc = count_order_locked(session, err);
        if (rc < 0)
            return rc;
    }
    switch (message->type) {
    case BLX_MESSAGE_ACK:
        return on_ack_locked(session, &message->ack, err);
    case BLX_MESSAGE_DIGESTS:
        return agent_rescan_answer_locked(session, &message->digests, err);
    case BLX_MESSAGE_RESCAN_REQUEST:
        session->wants_rescan = true;
        memcpy(session->rescan_reason, message->rescan_request.text,
               sizeof(session->rescan_reason));
        return 0;
    case BLX_MESSAGE_CHECKPOINT_REQUEST:
        session->request = message->checkpoint_request.request;
        return 0;
    case BLX_MESSAGE_CHECKPOINT_DONE:
        on_checkpoint_done_locked(session, &message->checkpoint_done);
        return 0;
    case BLX_MESSAGE_CERTIFICATE:
        take_certificate_locked(session, &message->certificate);
        return 0;
    case BLX_MESSAGE_RENEW_FAILED:
        take_refusal_locked(session, message->renew_failed.text);
        return 0;
    case BLX_MESSAGE_AUTHORITY:
        session->told = message->authority;
        session->told_is_new = true;
        return 0;
    case BLX_MESSAGE_HANDOVER:
        session->handover_is_new = true;
        return 0;
    case BLX_MESSAGE_POLICY:
        session->sync_freq_ms = message->policy.sync_freq_ms;
        agent_take_policy_locked(session->agent, &message->policy, AGENT_POLICY_LATER);
        return 0;
    case BLX_MESSAGE_PING:
        session->wants_ping = true;
        return 0;
    case BLX_MESSAGE_GOODBYE:
        return blx_error_set(err, -EPIPE, "the dispatcher said goodbye");
    case BLX_MESSAGE_ERROR:
        return blx_error_set(err, -ECONNABORTED, "the dispatcher ended the session: %s",
                             message->error.text);
    default:
        return blx_error_set(err, -EPROTO, "the dispatcher sent %s, which is not its to send",
                             blx_message_name(message->type));
    }
}

void *agent_session_receiver(void *arg)
{
    struct agent_session *session = arg;
    uint64_t patience_ms = 3 * session->welcome.heartbeat_ms;
    int rc = 0;
    while (rc == 0) {
        struct blx_message message;
        struct blx_error error = {0};
        rc = blx_conn_recv(session->conn, patience_ms, &message, &error);
        if (rc == -ETIMEDOUT) {
            blx_error_clear(&error);
            blx_error_set(&error, rc, "nothing was heard from the dispatcher for %" PRIu64 " ms",
                          patience_ms);
        }
        if (rc == 0) {
            pthread_mutex_lock(&session->agent->lock);
            rc = act_locked(session, &message, &error);
            pthread_cond_broadcast(&session->agent->changed);
            pthread_mutex_unlock(&session->agent->lock);
        }
        if (rc < 0)
            agent_session_fail(session, rc, &error);
    }
    return NULL;
}
