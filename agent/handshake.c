/*
 * HELLO to BEGIN: who we are, what we have, what the dispatcher has of it, and so what each
 * volume's pass is. A volume whose stream the dispatcher knows is resumed; any other one is sent
 * from nothing.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/session.h"
#include "base/log.h"
#include "base/units.h"
#include "base/version.h"

enum { ANSWER_TIMEOUT_MS = 60 * 1000 };

static int receive(struct blx_session *session, enum blx_message_type wanted,
                   struct blx_message *message, struct blx_error *err)
{
    int rc;
    do {
        rc = blx_conn_recv(session->conn, ANSWER_TIMEOUT_MS, message, err);
    } while (rc == 0 && message->type == BLX_MESSAGE_PING);
    if (rc < 0)
        return rc;
    if (message->type == BLX_MESSAGE_ERROR)
        return blx_error_set(err, -ECONNREFUSED, "the dispatcher refuses: %s", message->error.text);
    if (message->type != wanted)
        return blx_error_set(err, -EPROTO, "the dispatcher sent %s where %s was due",
                             blx_message_name(message->type), blx_message_name(wanted));
    return 0;
}

static int say_hello(struct blx_session *session, struct blx_error *err)
{
    const struct blx_agent *agent = session->agent;
    struct blx_message message = {
        .type = BLX_MESSAGE_HELLO,
        .hello = {.version_min = BLX_PROTOCOL_VERSION,
                  .version_max = BLX_PROTOCOL_VERSION,
                  .volume_count = (uint32_t)agent->volume_count,
                  .software = "blxrep-agent " BLX_VERSION},
    };
    snprintf(message.hello.agent_id, sizeof(message.hello.agent_id), "%s", agent->config->id);
    int rc = blx_conn_send(session->conn, &message, err);
    if (rc == 0)
        rc = receive(session, BLX_MESSAGE_WELCOME, &message, err);
    if (rc == 0)
        session->welcome = message.welcome;
    return rc;
}

static int announce(struct blx_session *session, const struct blx_volume *volume,
                    struct blx_volume_state *state, struct blx_error *err)
{
    struct blx_message message = {
        .type = BLX_MESSAGE_VOLUME,
        .volume = {.volume = volume->index,
                   .block_shift = volume->block_shift,
                   .size_bytes = volume->device.size_bytes,
                   .generation = volume->ledger.head->stream},
    };
    snprintf(message.volume.name, sizeof(message.volume.name), "%s", volume->device.name);
    snprintf(message.volume.device, sizeof(message.volume.device), "%s", volume->device.path);
    snprintf(message.volume.identity, sizeof(message.volume.identity), "%s",
             volume->device.identity);
    int rc = blx_conn_send(session->conn, &message, err);
    if (rc == 0)
        rc = receive(session, BLX_MESSAGE_VOLUME_STATE, &message, err);
    if (rc < 0)
        return rc;
    if (message.volume_state.volume != volume->index)
        return blx_error_set(err, -EPROTO, "the dispatcher answered for volume %u where %u was due",
                             message.volume_state.volume, volume->index);
    *state = message.volume_state;
    return 0;
}

static int begin(struct blx_session *session, const struct blx_volume *volume, enum blx_pass pass,
                 struct blx_error *err)
{
    uint64_t full_bytes =
        pass == BLX_PASS_FULL ? volume->ledger.head->pass_total_blocks << volume->block_shift : 0;
    struct blx_message message = {
        .type = BLX_MESSAGE_BEGIN,
        .begin = {.volume = volume->index, .pass = pass, .full_bytes = full_bytes}};
    return blx_conn_send(session->conn, &message, err);
}

/* Why the dispatcher, though it knows the stream, has not all that it acknowledged; NULL where it
 * has. */
static const char *what_it_lost(const struct blx_session *session, const struct blx_volume *volume,
                                const struct blx_volume_state *state)
{
    const struct blx_ledger_head *head = volume->ledger.head;
    if (state->durable_seq < head->acked_seq)
        return "the dispatcher lost frames that it had acknowledged";
    if (session->welcome.last_checkpoint < head->last_checkpoint)
        return "the dispatcher's last checkpoint is older than the one it had confirmed";
    return NULL;
}

static int resume(struct blx_session *session, struct blx_volume *volume,
                  const struct blx_volume_state *state, struct blx_error *err)
{
    struct blx_ledger_head *head = volume->ledger.head;
    const char *lost = what_it_lost(session, volume, state);
    if (lost != NULL) {
        blx_log_warning("'%s': %s: all of it is sent again", volume->device.path, lost);
        int rc = blx_agent_mark_all(session->agent, volume, lost, err);
        if (rc < 0)
            return rc;
        head->last_checkpoint = session->welcome.last_checkpoint;
    }
    head->acked_seq = state->durable_seq;
    volume->next_seq = state->durable_seq + 1;
    char size[BLX_UNIT_TEXT_BYTES];
    blx_log_info("'%s': resumed, %s are marked", volume->device.path,
                 blx_size_format(blx_volume_marked(volume) << volume->block_shift, size));
    return begin(session, volume, BLX_PASS_RESUME, err);
}

/* The marks are set before the dispatcher hears of the pass: if we die in between, they are there
 * when it is resumed. */
static int begin_from_nothing(struct blx_session *session, struct blx_volume *volume,
                              struct blx_error *err)
{
    struct blx_ledger_head *head = volume->ledger.head;
    if (head->stream_used) {
        /* Another dispatcher, or another state of this one, knows the stream: ours must not be
         * taken for its continuation. */
        head->stream_used = false;
        if (blx_generation_create(&head->stream) < 0)
            return blx_error_set(err, -EIO, "cannot make a new generation: no random numbers");
        return blx_error_set(err, -EAGAIN, "'%s' begins a new stream", volume->device.path);
    }
    const char *reason = session->welcome.last_checkpoint == 0
                             ? "first sync"
                             : "the dispatcher does not know this tracker's generation";
    int rc = blx_agent_mark_all(session->agent, volume, reason, err);
    if (rc < 0)
        return rc;
    head->acked_seq = 0;
    head->last_checkpoint = 0;
    head->stream_used = true;
    volume->next_seq = 1;
    char size[BLX_UNIT_TEXT_BYTES];
    blx_log_info("'%s': full pass (%s), %s to send", volume->device.path, reason,
                 blx_size_format(head->pass_total_blocks << volume->block_shift, size));
    return begin(session, volume, BLX_PASS_FULL, err);
}

int blx_session_handshake(struct blx_session *session, struct blx_error *err)
{
    struct blx_agent *agent = session->agent;
    struct blx_volume_state states[BLX_MAX_VOLUMES];
    int rc = say_hello(session, err);
    for (size_t i = 0; rc == 0 && i < agent->volume_count; i++)
        rc = announce(session, &agent->volumes[i], &states[i], err);
    for (size_t i = 0; rc == 0 && i < agent->volume_count; i++) {
        struct blx_volume *volume = &agent->volumes[i];
        bool known = blx_generation_equal(&states[i].generation, &volume->ledger.head->stream);
        rc = known ? resume(session, volume, &states[i], err)
                   : begin_from_nothing(session, volume, err);
    }
    return rc;
}
