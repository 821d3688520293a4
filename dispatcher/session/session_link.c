/* SPDX-License-Identifier: Apache-2.0 */
/* Sends to the agent, acknowledges frames, and notes a link or a store that failed. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/clock.h"
#include "dispatcher/session/session_private.h"
#include "store/rescan_order.h"

enum { LINE_BYTES = 1024 }; /* the log cuts a line there */

int dispatcher_session_protest(struct blx_error *err, const char *format, ...)
{
    char reason[BLX_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof(reason), format, args);
    va_end(args);
    return blx_error_set(err, -EPROTO, "%s", reason);
}

void dispatcher_session_log(const struct dispatcher_session *session, enum blx_log_level level,
                            const char *format, ...)
{
    char line[LINE_BYTES];
    unsigned held_back = 0;
    va_list args;
    if (session->record != NULL &&
        !dispatcher_roster_allow(&session->dispatcher->roster, session->record,
                                 DISPATCHER_ALLOW_LINE, blx_clock_ns(), &held_back))
        return;
    if (held_back > 0)
        blx_log_warning("agent '%s' causes too many lines here: %u of them were held back",
                        session->agent_id, held_back);
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    blx_log(level, "%s", line);
}

int dispatcher_session_store_result(struct dispatcher_session *session, int rc)
{
    if (rc < 0 && rc != -EBADMSG && rc != -EPROTO && rc != -EEXIST)
        session->failures |= DISPATCHER_SESSION_STORE_FAILED;
    return rc;
}

int dispatcher_session_send(struct dispatcher_session *session, const struct blx_message *message,
                            struct blx_error *err)
{
    int rc = blx_conn_send(session->conn, message, err);
    if (rc < 0)
        session->failures |= DISPATCHER_SESSION_LINK_LOST;
    return rc;
}

static void send_ack(void *arg, uint32_t volume, uint64_t durable_seq)
{
    struct dispatcher_session *session = arg;
    struct dispatcher_session_volume *acked = &session->volumes[volume];
    blx_assert(acked->pass != 0 && durable_seq > acked->acked_seq);
    acked->acked_seq = durable_seq;
    dispatcher_roster_note_stored(&session->dispatcher->roster, session->record);
    const struct blx_message ack = {
        .type = BLX_MESSAGE_ACK,
        .ack = {.volume = volume, .durable_seq = durable_seq},
    };
    if (session->ack_rc == 0 && !dispatcher_session_is_lost(session))
        session->ack_rc = dispatcher_session_send(session, &ack, NULL);
}

int dispatcher_session_sync(struct dispatcher_session *session, struct blx_error *err)
{
    session->ack_rc = 0;
    int rc = blx_agent_writer_sync(session->writer, send_ack, session, err);
    if (rc < 0)
        return dispatcher_session_store_result(session, rc);
    if (session->ack_rc < 0)
        return blx_error_errno(err, session->ack_rc, "sending an acknowledgement to the agent '%s'",
                               session->agent_id);
    return 0;
}

int dispatcher_session_order_rescan(struct dispatcher_session *session, struct blx_error *err)
{
    struct blx_message message = {.type = BLX_MESSAGE_RESCAN_REQUEST};
    int rc = blx_rescan_order_look(blx_store_agent(session->dispatcher->store, session->agent_id),
                                   message.rescan_request.text, err);
    if (rc <= 0)
        return rc < 0 ? dispatcher_session_store_result(session, rc) : 0;
    rc = dispatcher_session_send(session, &message, err);
    session->rescan_told = rc == 0;
    return rc;
}
