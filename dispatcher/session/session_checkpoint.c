/* SPDX-License-Identifier: Apache-2.0 */
/* How a request for a checkpoint ends: the agent's cut is committed, or the agent gave up. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/units.h"
#include "dispatcher/cut_time.h"
#include "dispatcher/pulse.h"
#include "dispatcher/session/session_private.h"

static void log_committed(struct dispatcher_session *session,
                          const struct blx_checkpoint_message *cut, uint64_t asked_ns)
{
    const struct blx_manifest *last = blx_agent_writer_get_last(session->writer);
    uint64_t unreadable_bytes = blx_manifest_unreadable_bytes(last);
    char received[BLX_UNIT_TEXT_BYTES], took[BLX_UNIT_TEXT_BYTES], lacks[BLX_UNIT_TEXT_BYTES];
    uint64_t frame_bytes = atomic_load(&session->entry.frame_bytes);

    blx_log_info("agent '%s': committed checkpoint %" PRIu64
                 ": consistency \"%s\"%s%s, %s received, took %s, frozen for %.1f ms",
                 session->agent_id, last->timestamp, blx_consistency_name(cut->consistency),
                 cut->note[0] != '\0' ? ": " : "", cut->note,
                 blx_size_format(frame_bytes - session->frame_bytes_at_checkpoint, received),
                 blx_duration_format((blx_clock_ns() - asked_ns) / 1000000, took),
                 (double)cut->freeze_ns / 1e6);
    session->frame_bytes_at_checkpoint = frame_bytes;
    if (unreadable_bytes > 0)
        blx_log_warning("agent '%s': checkpoint %" PRIu64
                        " is damaged: %s could not be read on the agent's disks (`blxrep show "
                        "--json` lists them)",
                        session->agent_id, last->timestamp,
                        blx_size_format(unreadable_bytes, lacks));
}

/* Tells the registry and the roster about a commit. This comes before the steps that may still
 * fail, as these do not matter to whoever waits for the checkpoint. */
static void publish(struct dispatcher_session *session, const struct blx_checkpoint_message *cut)
{
    const struct blx_manifest *last = blx_agent_writer_get_last(session->writer);
    uint64_t unreadable_bytes = blx_manifest_unreadable_bytes(last);
    struct dispatcher_registry *registry = &session->dispatcher->registry;
    struct blx_control_done outcome = {.ok = true, .timestamp = last->timestamp};
    char lacks[BLX_UNIT_TEXT_BYTES];

    if (unreadable_bytes > 0)
        snprintf(outcome.text, sizeof(outcome.text),
                 "it is damaged: %s could not be read on the agent's disks",
                 blx_size_format(unreadable_bytes, lacks));
    else if (cut->left_out != 0)
        memcpy(outcome.text, cut->note, sizeof(outcome.text));
    for (uint32_t i = 0; i < session->volume_count; i++)
        if ((cut->left_out >> i & 1) == 0)
            session->volumes[i].pass = BLX_PASS_RESUME;
    dispatcher_roster_note_commit(&session->dispatcher->roster, session->record, last);
    dispatcher_registry_set_last_checkpoint(registry, &session->entry, last->timestamp,
                                            blx_manifest_time(last));
    dispatcher_registry_finish_request(registry, &session->entry, &outcome);
}

/* Judges the cut by this side's clock, and remembers how far the agent's is off. */
static void judge_time(struct dispatcher_session *session, uint64_t asked_ns,
                       struct blx_checkpoint_message *cut, struct blx_commit_times *times)
{
    uint64_t now_ns = blx_clock_realtime_ns();
    const struct dispatcher_cut_window window = {
        .asked_ns = now_ns - (blx_clock_ns() - asked_ns),
        .arrived_ns = now_ns,
    };
    *times = (struct blx_commit_times){.cut_realtime_ns = dispatcher_cut_time_ns(&window, cut),
                                       .committed_realtime_ns = now_ns};
    int64_t offset_ms = dispatcher_clock_offset_ms(&window, cut);
    dispatcher_note_clock(offset_ms, cut->note);
    dispatcher_roster_note_clock(&session->dispatcher->roster, session->record, offset_ms);
}

int dispatcher_session_commit(struct dispatcher_session *session,
                              struct blx_checkpoint_message *cut, struct blx_error *err)
{
    uint64_t asked_ns = 0;
    if (!dispatcher_registry_is_sent(&session->dispatcher->registry, &session->entry, cut->request,
                                     &asked_ns))
        return dispatcher_session_protest(
            err, "CHECKPOINT answers the request %" PRIu64 ", which was not asked for",
            cut->request);
    if (cut->left_out != 0 && (session->features & BLX_FEATURE_LEAVE_OUT) == 0)
        return dispatcher_session_protest(
            err, "CHECKPOINT leaves volumes out, though that was not agreed on");
    if (cut->cut_flags != 0 && (session->features & BLX_FEATURE_CUT_FLAGS) == 0)
        return dispatcher_session_protest(
            err, "CHECKPOINT has flags of its cut, though that was not agreed on");
    int rc = dispatcher_session_count_commit(session, err);
    if (rc < 0)
        return rc;
    blx_timestamp timestamp = 0;
    struct blx_commit_times times;
    struct dispatcher_pulse pulse;
    judge_time(session, asked_ns, cut, &times);
    dispatcher_pulse_start(&pulse, session->conn, session->dispatcher->heartbeat_ms / 2);
    rc = blx_agent_writer_commit(session->writer, cut, &times, &timestamp, err);
    dispatcher_pulse_stop(&pulse);
    if (rc < 0)
        return dispatcher_session_store_result(session, rc);
    dispatcher_session_close_image(session);
    log_committed(session, cut, asked_ns);
    dispatcher_session_judge_checkpoint(session);
    publish(session, cut);

    rc = dispatcher_session_sync(session, err); /* the commit has synced: this only acknowledges */
    if (rc < 0)
        return rc;
    const struct blx_message done = {
        .type = BLX_MESSAGE_CHECKPOINT_DONE,
        .checkpoint_done = {.request = cut->request, .timestamp = timestamp},
    };
    return dispatcher_session_send(session, &done, err);
}

int dispatcher_session_fail_checkpoint(struct dispatcher_session *session,
                                       const struct blx_checkpoint_failed *failed,
                                       struct blx_error *err)
{
    uint64_t asked_ns = 0;
    if (!dispatcher_registry_is_sent(&session->dispatcher->registry, &session->entry,
                                     failed->request, &asked_ns))
        return dispatcher_session_protest(
            err, "CHECKPOINT_FAILED answers the request %" PRIu64 ", which was not asked for",
            failed->request);
    dispatcher_session_log(session, BLX_LOG_WARNING, "agent '%s' could not take a checkpoint: %s",
                           session->agent_id, failed->reason);
    struct blx_control_done outcome = {.ok = false};
    memcpy(outcome.text, failed->reason, sizeof(outcome.text));
    dispatcher_roster_note_failure(&session->dispatcher->roster, session->record, failed->reason);
    dispatcher_registry_finish_request(&session->dispatcher->registry, &session->entry, &outcome);
    return 0;
}
