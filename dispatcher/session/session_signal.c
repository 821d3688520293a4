/* SPDX-License-Identifier: Apache-2.0 */
/* After a commit: does the checkpoint look as if data had been encrypted? Whatever goes wrong here
 * is logged, and the checkpoint counts as it did. */
#include <inttypes.h>

#include "base/log.h"
#include "dispatcher/audit.h"
#include "dispatcher/policy_book.h"
#include "dispatcher/pulse.h"
#include "dispatcher/session/session_private.h"
#include "store/signal/signal.h"

static void tell(const struct dispatcher_session *session, const struct blx_signal_outcome *outcome)
{
    const struct blx_suspicion *suspicion = &outcome->suspicion;
    blx_log_warning("agent '%s': checkpoint %" PRIu64 " looks as if data had been encrypted (a "
                    "signal, no verdict): %s",
                    session->agent_id, suspicion->checkpoint, suspicion->reason);
    if (outcome->pin != BLX_SIGNAL_PINNED)
        return;
    blx_log_warning("agent '%s': pinned checkpoint %" PRIu64 ", the last calm one: if all is well, "
                    "`blxrep dispatcher unpin --agent=%s --checkpoint=%" PRIu64 "`",
                    session->agent_id, suspicion->calm, session->agent_id, suspicion->calm);
    const struct blx_audit_entry entry = {.event = "pin",
                                          .agent = session->agent_id,
                                          .text = "automatic: the last calm checkpoint before a "
                                                  "suspicious one",
                                          .checkpoints = &suspicion->calm,
                                          .checkpoint_count = 1};
    dispatcher_audit_entry(session->dispatcher, &entry);
}

void dispatcher_session_judge_checkpoint(struct dispatcher_session *session)
{
    const struct blx_manifest *last = blx_agent_writer_get_last(session->writer);
    struct blx_policy_verdict verdict;
    struct blx_signal_outcome outcome;
    struct blx_error err = {0};
    struct dispatcher_pulse pulse;
    dispatcher_policy_book_look(session->dispatcher->book, session->agent_id, &verdict);
    dispatcher_pulse_start(&pulse, session->conn, session->dispatcher->heartbeat_ms / 2);
    int rc = blx_signal_take(blx_store_agent(session->dispatcher->store, session->agent_id), last,
                             verdict.suspicious, &outcome, &err);
    dispatcher_pulse_stop(&pulse);
    if (rc < 0) {
        blx_log_warning("agent '%s': nobody knows whether checkpoint %" PRIu64 " is suspicious: %s",
                        session->agent_id, last->timestamp, err.message);
        return;
    }
    if (outcome.suspicion.kind == BLX_SIGNAL_NONE)
        return;
    const struct blx_audit_entry entry = {.event = "suspicious",
                                          .agent = session->agent_id,
                                          .text = outcome.suspicion.reason,
                                          .checkpoints = &outcome.suspicion.checkpoint,
                                          .checkpoint_count = 1};
    if (outcome.suspicion.since == outcome.suspicion.checkpoint) /* not one more of a signal */
        dispatcher_audit_entry(session->dispatcher, &entry);
    tell(session, &outcome);
}
