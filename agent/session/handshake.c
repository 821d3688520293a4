/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HELLO to BEGIN. The agent introduces itself, gets its policy and announces its volumes, each with
 * a new stream. The dispatcher answers with the state that it has of each, and that decides on the
 * volume's pass: stream_private.h has the table. If the state is a part of what this agent has
 * sent, the new stream goes on from there. Otherwise it begins with a rescan, if the dispatcher has
 * an image of the volume, else from nothing.
 */
#include <errno.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "agent/session/session_private.h"
#include "agent/session/stream_private.h"
#include "agent/wanted.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/units.h"
#include "base/version.h"
#include "tls/hardware.h"

enum { ANSWER_TIMEOUT_MS = 60 * 1000 };

static int receive(struct agent_session *session, enum blx_message_type wanted,
                   struct blx_message *message, struct blx_error *err)
{
    int rc = blx_conn_recv(session->conn, ANSWER_TIMEOUT_MS, message, err);
    /* The answer may take long. Meanwhile the dispatcher may ask for a sign of life. */
    while (rc == 0 && message->type == BLX_MESSAGE_PING) {
        rc = blx_conn_send(session->conn, &(struct blx_message){.type = BLX_MESSAGE_PING}, err);
        if (rc == 0)
            rc = blx_conn_recv(session->conn, ANSWER_TIMEOUT_MS, message, err);
    }
    if (rc < 0)
        return rc;
    if (message->type == BLX_MESSAGE_ERROR)
        return blx_error_set(err, -ECONNREFUSED, "the dispatcher refuses: %s", message->error.text);
    if (message->type != wanted)
        return blx_error_set(err, -EPROTO, "the dispatcher sent %s instead of %s",
                             blx_message_name(message->type), blx_message_name(wanted));
    return 0;
}

static int say_hello(struct agent_session *session, struct blx_error *err)
{
    const struct agent *agent = session->agent;
    const bool encrypts = !blx_key_id_is_none(&agent->key.id);
    const uint64_t offered =
        BLX_FEATURE_POLICY | BLX_FEATURE_CUT_AGE | BLX_FEATURE_CONTINUE | BLX_FEATURE_LEAVE_OUT |
        BLX_FEATURE_CUT_FLAGS |
        (agent_identity_can_renew(agent->config)
             ? BLX_FEATURE_RENEWAL | BLX_FEATURE_AUTHORITY | BLX_FEATURE_HARDWARE
             : 0) |
        (encrypts ? BLX_FEATURE_ENCRYPTION : BLX_FEATURE_DIGESTS);
    /* An agent without a volume asks for the policy alone, which may be the reason. */
    const size_t count = agent->volume_count > 0 ? agent->volume_count : 1;
    struct blx_message message = {
        .type = BLX_MESSAGE_HELLO,
        .hello = {.version_min = BLX_PROTOCOL_VERSION,
                  .version_max = BLX_PROTOCOL_VERSION,
                  .features = offered,
                  .volume_count = (uint32_t)count,
                  .software = "blxrep-agent " BLX_VERSION,
                  .instance = agent->instance},
    };
    snprintf(message.hello.agent_id, sizeof(message.hello.agent_id), "%s", agent->config->id);
    int rc = blx_conn_send(session->conn, &message, err);
    if (rc == 0)
        rc = receive(session, BLX_MESSAGE_WELCOME, &message, err);
    if (rc < 0)
        return rc;
    const struct blx_welcome *welcome = &message.welcome;
    if (welcome->version != BLX_PROTOCOL_VERSION || (welcome->features & ~offered) != 0)
        return blx_error_set(err, -EPROTO,
                             "the dispatcher answered with version %" PRIu32
                             " and features %#" PRIx64 ", which this agent did not offer",
                             welcome->version, welcome->features);
    session->welcome = *welcome;
    session->sync_freq_ms = welcome->sync_freq_ms;
    if (encrypts && (welcome->features & BLX_FEATURE_ENCRYPTION) == 0)
        return blx_error_set(err, -EPROTONOSUPPORT,
                             "the dispatcher is too old for encrypted frames, and nothing is sent "
                             "without encryption while 'encryption-key' is given: install this "
                             "release there");
    return 0;
}

/* Before any volume is announced, as the policy may leave some out. */
static int take_policy(struct agent_session *session, struct blx_error *err)
{
    struct agent *agent = session->agent;
    struct blx_message message;
    int rc = 0;
    if ((session->welcome.features & BLX_FEATURE_POLICY) != 0)
        rc = receive(session, BLX_MESSAGE_POLICY, &message, err);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&agent->lock);
    if ((session->welcome.features & BLX_FEATURE_POLICY) != 0)
        agent_take_policy_locked(agent, &message.policy, AGENT_POLICY_FIRST);
    rc = agent_session_check_locked(session, err);
    pthread_mutex_unlock(&agent->lock);
    if (rc < 0) {
        blx_conn_send(session->conn, &(struct blx_message){.type = BLX_MESSAGE_GOODBYE}, NULL);
        return rc;
    }
    if (agent->volume_count > 0)
        return 0;
    return blx_error_set(err, -ENODEV,
                         "there is nothing to protect: 'device' matches no disk, or 'exclude' and "
                         "the dispatcher's policy leave all of them out");
}

static int derive_digest_keys(struct agent *agent, const struct blx_key *key, struct blx_error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < agent->volume_count; i++) {
        struct agent_volume *volume = &agent->volumes[i];
        rc = blx_volume_key_derive(key, agent->config->id, volume->device.name,
                                   &agent->volume_keys[i], err);
        volume->digest_key = rc == 0 ? &agent->volume_keys[i] : NULL;
    }
    return rc;
}

/* What makes the digests of this session, unless the encryption key does. No job of the session
 * before is under way any more. */
static int take_digest_key(struct agent_session *session, struct blx_error *err)
{
    struct agent *agent = session->agent;
    struct blx_message message;
    BLX_CLEANUP_SECRET_KEY struct blx_key key = {0};
    if (!blx_key_id_is_none(&agent->key.id))
        return 0;
    for (size_t i = 0; i < agent->volume_count; i++)
        agent->volumes[i].digest_key = NULL;
    if ((session->welcome.features & BLX_FEATURE_DIGESTS) == 0)
        return 0;
    int rc = receive(session, BLX_MESSAGE_DIGEST_KEY, &message, err);
    if (rc < 0)
        return rc;
    rc = blx_key_set(&key, message.digest_key.secret, err);
    OPENSSL_cleanse(&message, sizeof(message));
    return rc < 0 ? rc : derive_digest_keys(agent, &key, err);
}

/* By what this machine is known, if another one has restored its disk. One that has nothing of the
 * kind tells so. */
static int tell_hardware(struct agent_session *session, struct blx_error *err)
{
    struct blx_message message = {.type = BLX_MESSAGE_HARDWARE};
    struct blx_error why = {0};
    if ((session->welcome.features & BLX_FEATURE_HARDWARE) == 0)
        return 0;
    if (blx_hardware_identify(BLX_HARDWARE_SYSFS, message.hardware.identity, &why) < 0)
        blx_log_debug("%s", why.message);
    return blx_conn_send(session->conn, &message, err);
}

/* The id of the key that encrypts the frames, before the volumes. */
static int name_key(struct agent_session *session, struct blx_error *err)
{
    const struct blx_message message = {.type = BLX_MESSAGE_KEY,
                                        .key = {.key_id = session->agent->key.id}};
    if (blx_key_id_is_none(&message.key.key_id))
        return 0;
    return blx_conn_send(session->conn, &message, err);
}

static int announce(struct agent_session *session, struct agent_volume *volume,
                    struct blx_volume_state *state, struct blx_error *err)
{
    if (blx_generation_create(&volume->fresh) < 0)
        return blx_error_set(err, -EIO, "cannot make a new stream: no random numbers");
    struct blx_message message = {
        .type = BLX_MESSAGE_VOLUME,
        .volume = {.volume = volume->index,
                   .block_shift = volume->block_shift,
                   .size_bytes = volume->device.size_bytes,
                   .generation = volume->fresh},
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
        return blx_error_set(err, -EPROTO, "the dispatcher answered for volume %u instead of %u",
                             message.volume_state.volume, volume->index);
    *state = message.volume_state;
    return 0;
}

static int begin(struct agent_session *session, const struct agent_volume *volume,
                 enum blx_pass pass, struct blx_error *err)
{
    uint64_t full_bytes =
        pass == BLX_PASS_FULL ? volume->ledger.head->pass_total_blocks << volume->block_shift : 0;
    struct blx_message message = {
        .type = BLX_MESSAGE_BEGIN,
        .begin = {.volume = volume->index, .pass = pass, .full_bytes = full_bytes}};
    return blx_conn_send(session->conn, &message, err);
}

static struct agent_stream_state stream_state(const struct agent_session *session,
                                              const struct blx_volume_state *state)
{
    return (struct agent_stream_state){.generation = state->generation,
                                       .durable_seq = state->durable_seq,
                                       .last_checkpoint = session->welcome.last_checkpoint,
                                       .knows_checkpoint = session->knows_checkpoint};
}

/* A disk that was away does not know of the checkpoints that were taken without it. Another volume
 * whose stream goes on does: they are this agent's. */
static bool knows_checkpoint(const struct agent_session *session,
                             const struct blx_volume_state *states)
{
    const struct agent *agent = session->agent;
    bool knows = false;
    for (size_t i = 0; i < agent->volume_count; i++) {
        const struct agent_stream_state stored = stream_state(session, &states[i]);
        knows |= agent_stream_explain(agent->volumes[i].ledger.head, &stored) == NULL;
    }
    return knows;
}

/* A dispatcher that does not know CONTINUE takes a rescan for it: its store does the same. What is
 * compared is this agent's affair. */
static int go_on(struct agent_session *session, struct agent_volume *volume,
                 const struct blx_volume_state *state, struct blx_error *err)
{
    const struct agent_stream_state stored = stream_state(session, state);
    const bool knows = (session->welcome.features & BLX_FEATURE_CONTINUE) != 0;
    char size[BLX_UNIT_TEXT_BYTES];
    agent_stream_continue(volume->ledger.head, &volume->fresh, &stored);
    volume->next_seq = 1;
    blx_log_info("'%s': resumed, %s are marked", volume->device.path,
                 blx_size_format(agent_volume_count_marked(volume) << volume->block_shift, size));
    return begin(session, volume, knows ? BLX_PASS_CONTINUE : BLX_PASS_RESCAN, err);
}

/* Why the frames do not go on: the dispatcher's reason; what this agent's ledger knows better; or
 * that nobody was tracking. */
static const char *explain_new_stream(const struct agent_session *session,
                                      const struct agent_volume *volume,
                                      const struct blx_volume_state *state)
{
    const struct agent_ledger_head *head = volume->ledger.head;
    const struct agent_stream_state stored = stream_state(session, state);
    if (state->image_bytes == 0 && session->welcome.last_checkpoint == 0)
        return head->last_checkpoint == 0
                   ? "first sync"
                   : "the dispatcher has none of this server's checkpoints any more, or is another "
                     "one";
    if (state->reason[0] != '\0')
        return state->reason;
    if (head->stream_used)
        return agent_stream_explain(head, &stored);
    if (head->anew_reason[0] != '\0')
        return head->anew_reason;
    return "nobody tracked the writes before now (a reboot, or lost pins)";
}

static void log_pass(const struct agent_volume *volume, const char *reason)
{
    const struct agent_ledger_head *head = volume->ledger.head;
    char size[BLX_UNIT_TEXT_BYTES];
    if (head->rescan_active)
        blx_log_notice("'%s': rescan (%s): it is compared with the dispatcher's image",
                       volume->device.path, reason);
    else
        blx_log_notice("'%s': full pass (%s), %s to send", volume->device.path, reason,
                       blx_size_format(head->pass_total_blocks << volume->block_shift, size));
}

/* The blocks after the image's last whole block are new: they are sent as in a full pass. */
static int prepare_rescan(struct agent_session *session, struct agent_volume *volume,
                          const struct blx_volume_state *state, const char *reason,
                          struct blx_error *err)
{
    uint64_t end_block = volume->blocks;
    if (state->image_bytes < volume->device.size_bytes)
        end_block = state->image_bytes >> volume->block_shift;
    if (end_block < volume->blocks) {
        BLX_CLEANUP_FREE uint64_t *wanted = NULL;
        int rc = agent_find_wanted(session->agent, volume, &wanted, err);
        if (rc < 0)
            return rc;
        agent_volume_mark_from(volume, wanted, end_block);
    }
    agent_volume_end_pass(volume);
    agent_volume_begin_rescan(volume, end_block, reason);
    return 0;
}

/* The marks are set before the dispatcher hears of the pass: if we die in between, they are there
 * when it is resumed. */
static int begin_stream(struct agent_session *session, struct agent_volume *volume,
                        const struct blx_volume_state *state, struct blx_error *err)
{
    struct agent_ledger_head *head = volume->ledger.head;
    const struct agent_stream_state stored = stream_state(session, state);
    bool compare = state->image_bytes != 0;
    char reason[BLX_TEXT_BYTES];
    snprintf(reason, sizeof(reason), "%s", explain_new_stream(session, volume, state));
    if (head->stream_used)
        blx_log_warning("'%s': %s", volume->device.path, reason);
    int rc = compare ? prepare_rescan(session, volume, state, reason, err)
                     : agent_mark_wanted(session->agent, volume, reason, err);
    if (rc < 0)
        return rc;
    agent_stream_begin(head, &volume->fresh, &stored);
    head->anew_reason[0] = '\0';
    volume->next_seq = 1;
    log_pass(volume, reason);
    return begin(session, volume, compare ? BLX_PASS_RESCAN : BLX_PASS_FULL, err);
}

static int begin_volume(struct agent_session *session, struct agent_volume *volume,
                        const struct blx_volume_state *state, struct blx_error *err)
{
    volume->pass_since_ns = blx_clock_ns();
    const struct agent_stream_state stored = stream_state(session, state);
    return agent_stream_explain(volume->ledger.head, &stored) == NULL
               ? go_on(session, volume, state, err)
               : begin_stream(session, volume, state, err);
}

int agent_session_handshake(struct agent_session *session, struct blx_error *err)
{
    struct agent *agent = session->agent;
    struct blx_volume_state states[BLX_MAX_VOLUMES];
    int rc = say_hello(session, err);
    if (rc == 0)
        rc = take_policy(session, err);
    if (rc == 0)
        rc = take_digest_key(session, err);
    if (rc == 0)
        rc = tell_hardware(session, err);
    if (rc == 0)
        rc = name_key(session, err);
    for (size_t i = 0; rc == 0 && i < agent->volume_count; i++)
        rc = announce(session, &agent->volumes[i], &states[i], err);
    session->knows_checkpoint = rc == 0 && knows_checkpoint(session, states);
    for (size_t i = 0; rc == 0 && i < agent->volume_count; i++)
        rc = begin_volume(session, &agent->volumes[i], &states[i], err);
    return rc;
}
