/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates over the wire: for a server that joins with a token, and for an agent that renews
 * its own. lib/tls/pki.h decides which requests are signed.
 *
 * A server that joins has proved nothing yet. So it may send one small message within a few
 * seconds, it counts as a connection that has not identified itself, and it reaches a single file
 * of DIR/pki, whose name is the digest of the token. A secret of 160 bits needs no further limit to
 * guessing.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "base/units.h"
#include "dispatcher/audit.h"
#include "dispatcher/session/session_private.h"
#include "store/own_id.h"
#include "tls/pki.h"
#include "tls/pki_roll.h"

enum { JOIN_MAX_BYTES = sizeof(struct blx_join_message) }; /* a little more than its body */

static int take_join(struct dispatcher_session *session, struct blx_message *message,
                     struct blx_error *err)
{
    uint64_t deadline_ns = blx_clock_ns() + DISPATCHER_JOIN_MS * UINT64_C(1000000);
    blx_conn_restrict(session->conn, JOIN_MAX_BYTES, DISPATCHER_JOIN_MS);
    int rc = dispatcher_session_receive(session, deadline_ns, message, err);
    if (rc == 0 && message->type != BLX_MESSAGE_JOIN)
        rc = dispatcher_session_protest(err, "expected JOIN, got %s",
                                        blx_message_name(message->type));
    return rc;
}

int dispatcher_session_join(struct dispatcher_session *session, struct blx_error *err)
{
    struct blx_message message;
    struct blx_message answer = {.type = BLX_MESSAGE_CERTIFICATE};
    char agent_id[BLX_NAME_BYTES];
    int rc = take_join(session, &message, err);
    if (rc < 0)
        return rc;
    rc = blx_pki_join(session->dispatcher->data_dir, &message.join, agent_id, &answer.certificate,
                      err);
    OPENSSL_cleanse(&message, sizeof(message));
    if (rc < 0)
        return rc;
    char name[BLX_NAME_BYTES];
    if (blx_own_id_find(session->dispatcher->store, agent_id, name, NULL) < 0)
        blx_text_set(name, agent_id);
    blx_log_notice("a server at %s has joined as agent '%s'", session->entry.peer, name);
    dispatcher_audit(session->dispatcher, "join", name, "from %s", session->entry.peer);
    return dispatcher_session_send(session, &answer, err);
}

static int fail_renewal(struct dispatcher_session *session, const char *reason,
                        struct blx_error *err)
{
    struct blx_message answer = {.type = BLX_MESSAGE_RENEW_FAILED};
    snprintf(answer.renew_failed.text, sizeof(answer.renew_failed.text), "%.*s",
             (int)sizeof(answer.renew_failed.text) - 1, reason);
    return dispatcher_session_send(session, &answer, err);
}

/* An agent that is not told of the successor would not accept its signature. */
static enum blx_pki_signer signer_for(const struct dispatcher_session *session)
{
    return (session->features & BLX_FEATURE_AUTHORITY) != 0 ? BLX_PKI_NEW_CA : BLX_PKI_OLD_CA;
}

int dispatcher_session_renew(struct dispatcher_session *session,
                             const struct blx_request_message *request, struct blx_error *err)
{
    struct blx_message answer = {.type = BLX_MESSAGE_CERTIFICATE};
    struct blx_error why = {0};
    unsigned held_back = 0;
    if ((session->features & BLX_FEATURE_RENEWAL) == 0)
        return dispatcher_session_protest(err, "RENEW, which was not agreed on");
    /* Not logged: the agent could fill the log with it. */
    if (!dispatcher_roster_allow(&session->dispatcher->roster, session->record,
                                 DISPATCHER_ALLOW_RENEWAL, blx_clock_ns(), &held_back))
        return fail_renewal(session, "this agent has asked for too many certificates lately", err);
    struct blx_pki_renewal renewal = {.agent_id = session->peer.name,
                                      .serial = session->peer.serial,
                                      .signer = signer_for(session)};
    memcpy(renewal.hardware, session->handover.hardware, sizeof(renewal.hardware));
    int rc =
        blx_pki_renew(session->dispatcher->data_dir, &renewal, request, &answer.certificate, &why);
    if (rc == 0) {
        session->handover.renewed = true;
        blx_log_info("agent '%s': its certificate is renewed", session->agent_id);
        dispatcher_roster_note_certificate(&session->dispatcher->roster, session->record, 0);
        dispatcher_audit(session->dispatcher, "renew", session->agent_id, "from %s",
                         session->entry.peer);
        return dispatcher_session_send(session, &answer, err);
    }
    blx_log_warning("agent '%s': its certificate is not renewed: %s", session->agent_id,
                    why.message);
    return fail_renewal(session, why.message, err);
}

int dispatcher_session_tell_authority(struct dispatcher_session *session, struct blx_error *err)
{
    struct blx_message message = {.type = BLX_MESSAGE_AUTHORITY};
    if ((session->features & BLX_FEATURE_AUTHORITY) == 0)
        return 0;
    dispatcher_identity_get_authority(&session->dispatcher->identity, &message.authority);
    return message.authority.ca_bytes == 0 ? 0 : dispatcher_session_send(session, &message, err);
}

void dispatcher_session_note_ca(struct dispatcher_session *session,
                                const uint8_t ca_fingerprint[BLX_FINGERPRINT_BYTES])
{
    struct blx_error err = {0};
    enum dispatcher_identity_ca ca =
        dispatcher_identity_judge(&session->dispatcher->identity, ca_fingerprint);
    if (ca == DISPATCHER_CA_SETTLED)
        return;
    enum blx_pki_place place = ca == DISPATCHER_CA_NEW ? BLX_PKI_MOVED : BLX_PKI_STAYED;
    if (blx_pki_roll_note(session->dispatcher->data_dir, session->peer.name, place, &err) < 0)
        dispatcher_session_log(session, BLX_LOG_WARNING,
                               "agent '%s': it cannot be noted by which CA its certificate is: %s",
                               session->agent_id, err.message);
}
