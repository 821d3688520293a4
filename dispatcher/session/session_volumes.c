/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's volumes: announced, begun, filled with frames. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/units.h"
#include "dispatcher/cut_time.h"
#include "dispatcher/policy_book.h"
#include "dispatcher/pulse.h"
#include "dispatcher/session/session_private.h"

/* The key comes before the volumes, so that their stored frames are compared with it. */
static int take_key(struct dispatcher_session *session, const struct blx_key_message *key,
                    struct blx_error *err)
{
    if ((session->features & BLX_FEATURE_ENCRYPTION) == 0)
        return dispatcher_session_protest(err, "KEY came, though encryption was not agreed on");
    blx_agent_writer_set_key(session->writer, &key->key_id);
    return 0;
}

/* An agent that names no key does not encrypt, whatever it has agreed on. */
static int do_without_key(struct dispatcher_session *session, struct blx_error *err)
{
    struct blx_policy_verdict verdict;
    session->features &= ~BLX_FEATURE_ENCRYPTION;
    dispatcher_policy_book_look(session->dispatcher->book, session->agent_id, &verdict);
    return dispatcher_session_check_encryption(session, &verdict, err);
}

/* The next message, after what an agent may say of itself before its first volume: its hardware,
 * then its key. */
static int receive_first(struct dispatcher_session *session, struct blx_message *message,
                         struct blx_error *err)
{
    int rc = dispatcher_session_receive(session, UINT64_MAX, message, err);
    if (rc == 0 && message->type == BLX_MESSAGE_HARDWARE) {
        rc = dispatcher_session_take_hardware(session, &message->hardware, err);
        if (rc == 0)
            rc = dispatcher_session_receive(session, UINT64_MAX, message, err);
    } else if (rc == 0 && message->type != BLX_MESSAGE_GOODBYE) {
        rc = dispatcher_session_miss_hardware(session, err);
    }
    if (rc == 0 && message->type == BLX_MESSAGE_KEY) {
        rc = take_key(session, &message->key, err);
        if (rc == 0)
            rc = dispatcher_session_receive(session, UINT64_MAX, message, err);
    } else if (rc == 0 && message->type == BLX_MESSAGE_VOLUME) {
        rc = do_without_key(session, err);
    }
    return rc;
}

static int receive_volume(struct dispatcher_session *session, uint32_t index, struct blx_error *err)
{
    struct blx_message message;
    int rc = index == 0 ? receive_first(session, &message, err)
                        : dispatcher_session_receive(session, UINT64_MAX, &message, err);
    if (rc < 0)
        return rc;
    if (message.type == BLX_MESSAGE_GOODBYE) {
        /* It has learned its policy, and connects again with other volumes. */
        session->failures |= DISPATCHER_SESSION_LINK_LOST;
        return blx_error_set(err, -ECANCELED, "the agent said goodbye");
    }
    if (message.type != BLX_MESSAGE_VOLUME)
        return dispatcher_session_protest(err, "expected VOLUME number %" PRIu32 ", got %s", index,
                                          blx_message_name(message.type));
    if (message.volume.volume != index)
        return dispatcher_session_protest(err,
                                          "expected VOLUME number %" PRIu32 ", got number %" PRIu32,
                                          index, message.volume.volume);

    rc = dispatcher_session_count_volume(session, message.volume.name, err);
    if (rc < 0)
        return rc;
    struct blx_message answer = {.type = BLX_MESSAGE_VOLUME_STATE};
    struct dispatcher_pulse pulse;
    /* Scanning a large open segment can take minutes. */
    dispatcher_pulse_start(&pulse, session->conn, session->dispatcher->heartbeat_ms / 2);
    rc = blx_agent_writer_add_volume(session->writer, &message.volume, &answer.volume_state, err);
    dispatcher_pulse_stop(&pulse);
    if (rc < 0)
        return dispatcher_session_store_result(session, rc);
    answer.volume_state.volume = index;
    const char *cut = blx_agent_writer_get_cut(session->writer, index);
    if (cut[0] != '\0')
        dispatcher_session_log(session, BLX_LOG_WARNING, "agent '%s': %s", session->agent_id, cut);
    struct dispatcher_session_volume *volume = &session->volumes[index];
    memcpy(volume->name, message.volume.name, sizeof(message.volume.name));
    dispatcher_roster_add_volume(&session->dispatcher->roster, session->record, index,
                                 message.volume.size_bytes);
    snprintf(volume->reason, sizeof(volume->reason), "%.*s", (int)sizeof(volume->reason) - 1,
             blx_agent_writer_get_reason(session->writer, index));
    return dispatcher_session_send(session, &answer, err);
}

int dispatcher_session_take_volumes(struct dispatcher_session *session, struct blx_error *err)
{
    for (uint32_t index = 0; index < session->volume_count; index++) {
        int rc = receive_volume(session, index, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* A rescan may take as long as a full pass. */
static enum blx_pass longest_pass(const struct dispatcher_session *session)
{
    for (uint32_t i = 0; i < session->volume_count; i++) {
        if (session->volumes[i].pass != BLX_PASS_RESUME &&
            session->volumes[i].pass != BLX_PASS_CONTINUE)
            return session->volumes[i].pass;
    }
    return BLX_PASS_RESUME;
}

static int format_volume(const struct dispatcher_session_volume *volume, char *text, size_t bytes)
{
    char size[BLX_UNIT_TEXT_BYTES];
    bool has_reason = volume->reason[0] != '\0';
    if (volume->pass == BLX_PASS_RESUME || volume->pass == BLX_PASS_CONTINUE)
        return snprintf(text, bytes, "%s resumes", volume->name);
    if (volume->pass == BLX_PASS_RESCAN)
        return snprintf(text, bytes, "%s begins a rescan (%s)", volume->name,
                        has_reason ? volume->reason : "its tracking began again");
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
    dispatcher_session_log(session, BLX_LOG_INFO, "agent '%s' connected from %s: %s",
                           session->agent_id, session->entry.peer, list);
}

int dispatcher_session_begin(struct dispatcher_session *session, const struct blx_begin *message,
                             struct blx_error *err)
{
    if (message->volume >= session->volume_count)
        return dispatcher_session_protest(
            err, "BEGIN of volume number %" PRIu32 ", but there are %" PRIu32, message->volume,
            session->volume_count);
    if (message->pass == BLX_PASS_CONTINUE && (session->features & BLX_FEATURE_CONTINUE) == 0)
        return dispatcher_session_protest(err,
                                          "BEGIN with CONTINUE came, though it was not agreed on");
    struct dispatcher_session_volume *volume = &session->volumes[message->volume];
    unsigned held_back = 0;
    if (volume->pass != 0 &&
        !dispatcher_roster_allow(&session->dispatcher->roster, session->record,
                                 DISPATCHER_ALLOW_BEGIN, blx_clock_ns(), &held_back))
        return dispatcher_session_protest(err, "the agent '%s' begins passes too often",
                                          session->agent_id);
    int rc = blx_agent_writer_begin(session->writer, message->volume, message->pass, err);
    if (rc < 0)
        return dispatcher_session_store_result(session, rc);
    bool first = volume->pass == 0;
    volume->pass = message->pass;
    volume->acked_seq = 0;
    volume->full_bytes = message->full_bytes;
    if (first && ++session->begun_count == session->volume_count) {
        dispatcher_session_move(session, DISPATCHER_SESSION_FOLLOWING);
        log_connected(session);
    }
    if (session->state < DISPATCHER_SESSION_FOLLOWING)
        return 0;
    dispatcher_registry_set_ready(&session->dispatcher->registry, &session->entry,
                                  longest_pass(session));
    if (!first)
        return 0;
    rc = dispatcher_session_tell_authority(session, err);
    if (rc == 0)
        rc = dispatcher_session_tell_handover(session, err);
    return rc == 0 ? dispatcher_session_order_rescan(session, err) : rc;
}

/* Frames that were on their way when the agent was told are taken, and nothing later: whoever
 * paused it wants nothing more of it, whether it obeys or not. */
static int check_pause(const struct dispatcher_session *session, struct blx_error *err)
{
    uint64_t grace_ns = session->dispatcher->pause_ms * 1000000;
    if (session->paused_ns == 0 || blx_clock_ns() < session->paused_ns + grace_ns)
        return 0;
    return dispatcher_session_protest(err, "this agent is paused, and sends frames all the same");
}

int dispatcher_session_take_frame(struct dispatcher_session *session,
                                  const struct blx_frame_message *frame, struct blx_error *err)
{
    if (frame->volume >= session->volume_count || session->volumes[frame->volume].pass == 0)
        return dispatcher_session_protest(
            err, "a frame of volume number %" PRIu32 ", which has not begun", frame->volume);
    int rc = check_pause(session, err);
    if (rc == 0)
        rc = dispatcher_session_count_frame(session, frame->frame_bytes, err);
    if (rc < 0)
        return rc;
    rc = blx_agent_writer_append(session->writer, frame->volume, frame->bytes, frame->frame_bytes,
                                 err);
    if (rc < 0)
        return dispatcher_session_store_result(session, rc);
    atomic_fetch_add(&session->entry.frame_bytes, frame->frame_bytes);
    dispatcher_roster_add_received(&session->dispatcher->roster, session->record,
                                   frame->frame_bytes);
    if (blx_agent_writer_count_unsynced(session->writer) >= DISPATCHER_SYNC_BYTES)
        return dispatcher_session_sync(session, err);
    return 0;
}

int dispatcher_session_note_unreadable(struct dispatcher_session *session,
                                       const struct blx_unreadable *unreadable,
                                       struct blx_error *err)
{
    if (unreadable->volume >= session->volume_count)
        return dispatcher_session_protest(
            err, "UNREADABLE of volume number %" PRIu32 ", but there are %" PRIu32,
            unreadable->volume, session->volume_count);
    return dispatcher_session_store_result(
        session, blx_agent_writer_note_unreadable(session->writer, unreadable, err));
}
