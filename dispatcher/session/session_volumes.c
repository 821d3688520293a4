/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/units.h"
#include "dispatcher/pulse.h"
#include "dispatcher/session/session_private.h"

/* The key comes before the volumes, so that what is stored of them is compared with it. */
static int take_key(struct dispatcher_session *session, const struct blx_key_message *key,
                    struct blx_error *err)
{
    if ((session->features & BLX_FEATURE_ENCRYPTION) == 0)
        return dispatcher_session_protest(err, "KEY came, though encryption was not agreed on");
    blx_agent_writer_set_key(session->writer, &key->key_id);
    return 0;
}

static int receive_volume(struct dispatcher_session *session, uint32_t index, struct blx_error *err)
{
    struct blx_message message;
    int rc = dispatcher_session_receive(session, UINT64_MAX, &message, err);
    if (rc == 0 && index == 0 && message.type == BLX_MESSAGE_KEY) {
        rc = take_key(session, &message.key, err);
        if (rc == 0)
            rc = dispatcher_session_receive(session, UINT64_MAX, &message, err);
    }
    if (rc < 0)
        return rc;
    if (message.type == BLX_MESSAGE_GOODBYE) {
        session->lost = true; /* it has learned its policy, and comes again with other volumes */
        return blx_error_set(err, -ECANCELED, "the agent said goodbye");
    }
    if (message.type != BLX_MESSAGE_VOLUME)
        return dispatcher_session_protest(err, "expected VOLUME number %" PRIu32 ", got %s", index,
                                          blx_message_name(message.type));
    if (message.volume.volume != index)
        return dispatcher_session_protest(err,
                                          "expected VOLUME number %" PRIu32 ", got number %" PRIu32,
                                          index, message.volume.volume);

    struct blx_message answer = {.type = BLX_MESSAGE_VOLUME_STATE};
    struct dispatcher_pulse pulse;
    /* A large open segment is scanned here, which can take minutes. */
    dispatcher_pulse_start(&pulse, session->conn, session->dispatcher->heartbeat_ms / 2);
    rc = blx_agent_writer_add_volume(session->writer, &message.volume, &answer.volume_state, err);
    dispatcher_pulse_stop(&pulse);
    if (rc < 0)
        return dispatcher_session_store_result(session, rc);
    answer.volume_state.volume = index;
    const char *cut = blx_agent_writer_get_cut(session->writer, index);
    if (cut[0] != '\0')
        blx_log_warning("agent '%s': %s", session->agent_id, cut);
    struct dispatcher_session_volume *volume = &session->volumes[index];
    memcpy(volume->name, message.volume.name, sizeof(message.volume.name));
    dispatcher_roster_volume(&session->dispatcher->roster, session->record, index == 0,
                             message.volume.size_bytes);
    snprintf(volume->reason, sizeof(volume->reason), "%.*s", (int)sizeof(volume->reason) - 1,
             blx_agent_writer_get_reason(session->writer, index));
    return dispatcher_session_send(session, &answer, err);
}

int dispatcher_session_volumes(struct dispatcher_session *session, struct blx_error *err)
{
    for (uint32_t index = 0; index < session->volume_count; index++) {
        int rc = receive_volume(session, index, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* A rescan may take as long as a full pass. */
static bool has_full_pass(const struct dispatcher_session *session)
{
    for (uint32_t i = 0; i < session->volume_count; i++) {
        if (session->volumes[i].pass != BLX_PASS_RESUME)
            return true;
    }
    return false;
}

static int format_volume(const struct dispatcher_session_volume *volume, char *text, size_t bytes)
{
    char size[BLX_UNIT_TEXT_BYTES];
    bool has_reason = volume->reason[0] != '\0';
    if (volume->pass == BLX_PASS_RESUME)
        return snprintf(text, bytes, "%s resumes", volume->name);
    if (volume->pass == BLX_PASS_RESCAN)
        return snprintf(text, bytes, "%s begins a rescan (%s)", volume->name,
                        has_reason ? volume->reason : "its tracking began anew");
    return snprintf(text, bytes, "%s begins a full pass of %s%s%s%s", volume->name,
                    blx_size_format(volume->full_bytes, size), has_reason ? " (" : "",
                    volume->reason, has_reason ? ")" : "");
}

static void log_connected(const struct dispatcher_session *session)
{
    char list[768] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < session->volume_count && used + 3 < sizeof(list); i++) {
        if (i > 0)
            used += (size_t)snprintf(list + used, sizeof(list) - used, "; ");
        used += (size_t)format_volume(&session->volumes[i], list + used, sizeof(list) - used);
    }
    blx_log_info("agent '%s' connected from %s: %s", session->agent_id, session->entry.peer, list);
}

static int begin(struct dispatcher_session *session, const struct blx_begin *message,
                 struct blx_error *err)
{
    if (message->volume >= session->volume_count)
        return dispatcher_session_protest(
            err, "BEGIN of volume number %" PRIu32 ", but there are %" PRIu32, message->volume,
            session->volume_count);
    struct dispatcher_session_volume *volume = &session->volumes[message->volume];
    int rc = blx_agent_writer_begin(session->writer, message->volume, message->pass, err);
    if (rc < 0)
        return dispatcher_session_store_result(session, rc);
    bool first = volume->pass == 0;
    volume->pass = message->pass;
    volume->full_bytes = message->full_bytes;
    if (first && ++session->begun_count == session->volume_count)
        log_connected(session);
    if (session->begun_count < session->volume_count)
        return 0;
    dispatcher_registry_ready(&session->dispatcher->registry, &session->entry,
                              has_full_pass(session));
    return first ? dispatcher_session_order_rescan(session, err) : 0;
}

static int take_frame(struct dispatcher_session *session, const struct blx_frame_message *frame,
                      struct blx_error *err)
{
    if (frame->volume >= session->volume_count || session->volumes[frame->volume].pass == 0)
        return dispatcher_session_protest(
            err, "a frame of volume number %" PRIu32 ", which has not begun", frame->volume);
    int rc = blx_agent_writer_append(session->writer, frame->volume, frame->bytes,
                                     frame->frame_bytes, err);
    if (rc < 0)
        return dispatcher_session_store_result(session, rc);
    atomic_fetch_add(&session->entry.frame_bytes, frame->frame_bytes);
    dispatcher_roster_received(&session->dispatcher->roster, session->record, frame->frame_bytes);
    if (blx_agent_writer_count_unsynced(session->writer) >= DISPATCHER_SYNC_BYTES)
        return dispatcher_session_sync(session, err);
    return 0;
}

static int note_unreadable(struct dispatcher_session *session,
                           const struct blx_unreadable *unreadable, struct blx_error *err)
{
    if (unreadable->volume >= session->volume_count)
        return dispatcher_session_protest(
            err, "UNREADABLE of volume number %" PRIu32 ", but there are %" PRIu32,
            unreadable->volume, session->volume_count);
    return dispatcher_session_store_result(
        session, blx_agent_writer_note_unreadable(session->writer, unreadable, err));
}

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

/* Everything the registry should know of a commit, before anything can fail that no longer matters
 * to those who wait. */
static void publish(struct dispatcher_session *session)
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
    for (uint32_t i = 0; i < session->volume_count; i++)
        session->volumes[i].pass = BLX_PASS_RESUME;
    dispatcher_roster_committed(&session->dispatcher->roster, session->record, last);
    dispatcher_registry_last(registry, &session->entry, last->timestamp);
    dispatcher_registry_finish(registry, &session->entry, &outcome);
}

static int commit(struct dispatcher_session *session, const struct blx_checkpoint_message *cut,
                  struct blx_error *err)
{
    uint64_t asked_ns = 0;
    if (!dispatcher_registry_is_sent(&session->dispatcher->registry, &session->entry, cut->request,
                                     &asked_ns))
        return dispatcher_session_protest(
            err, "CHECKPOINT answers the request %" PRIu64 ", which was not asked for",
            cut->request);
    blx_timestamp timestamp = 0;
    struct dispatcher_pulse pulse;
    dispatcher_pulse_start(&pulse, session->conn, session->dispatcher->heartbeat_ms / 2);
    int rc = blx_agent_writer_commit(session->writer, cut, &timestamp, err);
    dispatcher_pulse_stop(&pulse);
    if (rc < 0)
        return dispatcher_session_store_result(session, rc);
    dispatcher_session_close_image(session);
    log_committed(session, cut, asked_ns);
    publish(session);

    rc = dispatcher_session_sync(session, err); /* the commit has synced: this only acknowledges */
    if (rc < 0)
        return rc;
    const struct blx_message done = {
        .type = BLX_MESSAGE_CHECKPOINT_DONE,
        .checkpoint_done = {.request = cut->request, .timestamp = timestamp},
    };
    return dispatcher_session_send(session, &done, err);
}

static int fail_checkpoint(struct dispatcher_session *session,
                           const struct blx_checkpoint_failed *failed, struct blx_error *err)
{
    uint64_t asked_ns = 0;
    if (!dispatcher_registry_is_sent(&session->dispatcher->registry, &session->entry,
                                     failed->request, &asked_ns))
        return dispatcher_session_protest(
            err, "CHECKPOINT_FAILED answers the request %" PRIu64 ", which was not asked for",
            failed->request);
    blx_log_warning("agent '%s' could not take a checkpoint: %s", session->agent_id,
                    failed->reason);
    struct blx_control_done outcome = {.ok = false};
    memcpy(outcome.text, failed->reason, sizeof(outcome.text));
    dispatcher_roster_failed(&session->dispatcher->roster, session->record, failed->reason);
    dispatcher_registry_finish(&session->dispatcher->registry, &session->entry, &outcome);
    return 0;
}

static void take_status(struct dispatcher_session *session, const struct blx_status *status)
{
    bool rescanning = status->state == BLX_AGENT_RESCAN;
    if (!rescanning)
        dispatcher_session_close_image(session);
    if (rescanning && !session->rescanning)
        dispatcher_roster_rescan(&session->dispatcher->roster, session->record);
    session->rescanning = rescanning;
    dispatcher_registry_status(&session->dispatcher->registry, &session->entry, status);
}

static int handle(struct dispatcher_session *session, const struct blx_message *message,
                  struct blx_error *err)
{
    switch (message->type) {
    case BLX_MESSAGE_BEGIN:
        return begin(session, &message->begin, err);
    case BLX_MESSAGE_FRAME:
        return take_frame(session, &message->frame, err);
    case BLX_MESSAGE_CHECKPOINT:
        return commit(session, &message->checkpoint, err);
    case BLX_MESSAGE_UNREADABLE:
        return note_unreadable(session, &message->unreadable, err);
    case BLX_MESSAGE_CHECKPOINT_FAILED:
        return fail_checkpoint(session, &message->checkpoint_failed, err);
    case BLX_MESSAGE_DIGEST_REQUEST:
        return dispatcher_session_digest(session, &message->digest_request, err);
    case BLX_MESSAGE_RENEW:
        return dispatcher_session_renew(session, &message->renew, err);
    case BLX_MESSAGE_STATUS:
        take_status(session, &message->status);
        return 0;
    case BLX_MESSAGE_ERROR:
        session->lost = true; /* it has closed, or will without reading on */
        return blx_error_set(err, -ECONNABORTED, "the agent says: %s", message->error.text);
    default:
        return dispatcher_session_protest(err, "%s is not expected here",
                                          blx_message_name(message->type));
    }
}

int dispatcher_session_follow(struct dispatcher_session *session, struct blx_error *err)
{
    for (;;) {
        struct blx_message message;
        int rc = dispatcher_session_receive(session, UINT64_MAX, &message, err);
        if (rc < 0)
            return rc;
        if (message.type == BLX_MESSAGE_GOODBYE)
            return dispatcher_session_sync(session, err);
        rc = handle(session, &message, err);
        if (rc < 0)
            return rc;
    }
}
