/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An agent whose name went to another machine (lib/tls/handover.h). A session looks at it three
 * times: by its certificate before it disturbs anybody; by its hardware before it announces a
 * volume, if the certificate is also the old machine's; and when the agent has a certificate of its
 * own.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "dispatcher/audit.h"
#include "dispatcher/session/session_private.h"

/* A refusal is told in the log and to the peer, as any other, and in `status` and an event. */
static int refuse(const struct dispatcher_session *session, int rc)
{
    if (rc == -EACCES)
        dispatcher_roster_note_outsider(&session->dispatcher->roster, session->agent_id,
                                        session->entry.peer);
    return rc;
}

int dispatcher_session_check_handover(struct dispatcher_session *session, struct blx_error *err)
{
    struct dispatcher_session_handover *own = &session->handover;
    int rc = blx_handover_check(session->dispatcher->data_dir, session->peer.name,
                                session->peer.serial, &own->handover, &own->verdict, err);
    if (rc < 0)
        return refuse(session, rc);
    bool owed = own->verdict == BLX_HANDOVER_TO_PROVE || own->verdict == BLX_HANDOVER_NOT_THERE;
    dispatcher_registry_set_proof(&session->dispatcher->registry, &session->entry,
                                  owed ? DISPATCHER_PROOF_OWED : DISPATCHER_PROOF_GIVEN);
    return 0;
}

static void note_proof(struct dispatcher_session *session)
{
    dispatcher_registry_set_proof(&session->dispatcher->registry, &session->entry,
                                  DISPATCHER_PROOF_GIVEN);
}

/* The machine that has restored is here: what it has is compared, whatever disk it has. */
static void take_over(struct dispatcher_session *session)
{
    const struct blx_handover *handover = &session->handover.handover;
    blx_agent_writer_take_any_disk(session->writer);
    blx_log_notice("agent '%s': the machine at %s is the one that restored %" PRIu64
                   ": it is this agent from now on",
                   session->agent_id, session->entry.peer, handover->checkpoint);
    dispatcher_audit(session->dispatcher, "handover-come", session->agent_id, "from %s",
                     session->entry.peer);
}

int dispatcher_session_take_hardware(struct dispatcher_session *session,
                                     const struct blx_hardware_message *hardware,
                                     struct blx_error *err)
{
    struct dispatcher_session_handover *own = &session->handover;
    if ((session->features & BLX_FEATURE_HARDWARE) == 0)
        return dispatcher_session_protest(err, "HARDWARE came, though it was not agreed on");
    memcpy(own->hardware, hardware->identity, sizeof(own->hardware));
    int rc =
        blx_handover_prove(&own->handover, session->peer.name, own->verdict, own->hardware, err);
    if (rc == 0 && own->verdict == BLX_HANDOVER_TO_PROVE)
        take_over(session);
    if (rc == 0)
        note_proof(session);
    return rc < 0 ? refuse(session, rc) : 0;
}

int dispatcher_session_miss_hardware(struct dispatcher_session *session, struct blx_error *err)
{
    const struct dispatcher_session_handover *own = &session->handover;
    if (own->verdict != BLX_HANDOVER_TO_PROVE) {
        note_proof(session);
        return 0;
    }
    return refuse(session,
                  blx_error_set(err, -EACCES,
                                "the server '%s' was restored onto another machine at %" PRIu64
                                ", and this release of the agent cannot show that it runs there: "
                                "have it join again (`blxrep dispatcher enroll --agent=%s --token` "
                                "prints how), or `readmit` the old machine",
                                session->agent_id, own->handover.since, session->agent_id));
}

int dispatcher_session_tell_handover(struct dispatcher_session *session, struct blx_error *err)
{
    const struct blx_message message = {.type = BLX_MESSAGE_HANDOVER};
    if (session->handover.verdict != BLX_HANDOVER_TO_PROVE)
        return 0;
    return dispatcher_session_send(session, &message, err);
}

void dispatcher_session_settle_handover(struct dispatcher_session *session)
{
    struct dispatcher_session_handover *own = &session->handover;
    struct blx_error err = {0};
    if (own->handover.state != BLX_HANDOVER_WAITING)
        return;
    if (blx_handover_settle(session->dispatcher->data_dir, session->peer.name, &own->handover,
                            &err) < 0) {
        dispatcher_session_log(session, BLX_LOG_WARNING,
                               "agent '%s': it cannot be noted that the machine that restored it "
                               "has a certificate of its own: %s",
                               session->agent_id, err.message);
        return;
    }
    own->handover.state = BLX_HANDOVER_SETTLED;
    own->verdict = BLX_HANDOVER_NEW;
    blx_log_notice("agent '%s': the machine that restored it has a certificate of its own, and all "
                   "older ones are refused",
                   session->agent_id);
    dispatcher_audit(session->dispatcher, "handover-done", session->agent_id, "from %s",
                     session->entry.peer);
}
