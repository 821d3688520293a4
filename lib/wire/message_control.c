/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies of the messages between `blxrep` and the dispatcher, over DIR/control.sock. */
#include <errno.h>
#include <string.h>

#include "wire/message_disk_private.h"
#include "wire/text_private.h"

size_t blx_message_put_control_checkpoint(const struct blx_message *message, uint8_t *body)
{
    struct blx_control_checkpoint_disk disk;
    blx_field_put_name(disk.agent_id, message->control_checkpoint.agent_id);
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_control_checkpoint(const uint8_t *body, size_t body_bytes,
                                       struct blx_message *message, struct blx_error *err)
{
    (void)body_bytes;
    struct blx_control_checkpoint_disk disk;
    memcpy(&disk, body, sizeof(disk));
    return blx_field_get_name(disk.agent_id, message->control_checkpoint.agent_id, "agent ID", err);
}

size_t blx_message_put_control_rescan(const struct blx_message *message, uint8_t *body)
{
    struct blx_control_rescan_disk disk;
    blx_field_put_name(disk.agent_id, message->control_rescan.agent_id);
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_control_rescan(const uint8_t *body, size_t body_bytes,
                                   struct blx_message *message, struct blx_error *err)
{
    (void)body_bytes;
    struct blx_control_rescan_disk disk;
    memcpy(&disk, body, sizeof(disk));
    return blx_field_get_name(disk.agent_id, message->control_rescan.agent_id, "agent ID", err);
}

size_t blx_message_put_control_revoke(const struct blx_message *message, uint8_t *body)
{
    struct blx_control_revoke_disk disk;
    blx_field_put_name(disk.agent_id, message->control_revoke.agent_id);
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_control_revoke(const uint8_t *body, size_t body_bytes,
                                   struct blx_message *message, struct blx_error *err)
{
    (void)body_bytes;
    struct blx_control_revoke_disk disk;
    memcpy(&disk, body, sizeof(disk));
    return blx_field_get_name(disk.agent_id, message->control_revoke.agent_id, "agent ID", err);
}

size_t blx_message_put_control_pause(const struct blx_message *message, uint8_t *body)
{
    struct blx_control_pause_disk disk;
    blx_field_put_name(disk.agent_id, message->control_pause.agent_id);
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_control_pause(const uint8_t *body, size_t body_bytes,
                                  struct blx_message *message, struct blx_error *err)
{
    (void)body_bytes;
    struct blx_control_pause_disk disk;
    memcpy(&disk, body, sizeof(disk));
    return blx_field_get_name(disk.agent_id, message->control_pause.agent_id, "agent ID", err);
}

size_t blx_message_put_control_rename(const struct blx_message *message, uint8_t *body)
{
    struct blx_control_rename_disk disk;
    blx_field_put_name(disk.agent_id, message->control_rename.agent_id);
    blx_field_put_name(disk.to, message->control_rename.to);
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_control_rename(const uint8_t *body, size_t body_bytes,
                                   struct blx_message *message, struct blx_error *err)
{
    (void)body_bytes;
    struct blx_control_rename_disk disk;
    memcpy(&disk, body, sizeof(disk));
    int rc = blx_field_get_name(disk.agent_id, message->control_rename.agent_id, "agent ID", err);
    return rc < 0 ? rc : blx_field_get_name(disk.to, message->control_rename.to, "new name", err);
}

size_t blx_message_put_control_status(const struct blx_message *message, uint8_t *body)
{
    return blx_message_put_ping(message, body);
}

int blx_message_get_control_status(const uint8_t *body, size_t body_bytes,
                                   struct blx_message *message, struct blx_error *err)
{
    return blx_message_get_ping(body, body_bytes, message, err);
}

size_t blx_message_put_control_pin(const struct blx_message *message, uint8_t *body)
{
    struct blx_control_pin_disk disk = {.timestamp = blx_le64_of(message->control_pin.timestamp)};
    blx_field_put_name(disk.agent_id, message->control_pin.agent_id);
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_control_pin(const uint8_t *body, size_t body_bytes, struct blx_message *message,
                                struct blx_error *err)
{
    (void)body_bytes;
    struct blx_control_pin_disk disk;
    memcpy(&disk, body, sizeof(disk));
    int rc = blx_field_get_name(disk.agent_id, message->control_pin.agent_id, "agent ID", err);
    return rc < 0 ? rc
                  : blx_field_get_timestamp(disk.timestamp, &message->control_pin.timestamp, err);
}

size_t blx_message_put_control_done(const struct blx_message *message, uint8_t *body)
{
    struct blx_control_done_disk disk = {
        .ok = blx_le32_of(message->control_done.ok ? 1 : 0),
        .timestamp = blx_le64_of(message->control_done.timestamp),
    };
    blx_text_put(disk.text, sizeof(disk.text), message->control_done.text);
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_control_done(const uint8_t *body, size_t body_bytes,
                                 struct blx_message *message, struct blx_error *err)
{
    (void)body_bytes;
    struct blx_control_done_disk disk;
    memcpy(&disk, body, sizeof(disk));
    struct blx_control_done *done = &message->control_done;
    if (blx_le32_get(disk.ok) > 1)
        return blx_error_set(err, -EBADMSG, "the outcome is out of range");
    done->ok = blx_le32_get(disk.ok) == 1;
    int rc = blx_field_check_reserved(disk.reserved, err);
    if (rc == 0)
        rc = blx_field_get_timestamp(disk.timestamp, &done->timestamp, err);
    if (rc == 0)
        rc = blx_field_get_text(disk.text, done->text, "the text", err);
    return rc;
}

static struct blx_trouble_disk put_trouble(const struct blx_trouble *trouble)
{
    struct blx_trouble_disk disk = {.kind = blx_le32_of((uint32_t)trouble->kind),
                                    .since = blx_le64_of(trouble->since)};
    blx_text_put(disk.text, sizeof(disk.text), trouble->text);
    return disk;
}

static int get_trouble(const struct blx_trouble_disk *disk, struct blx_trouble *trouble,
                       struct blx_error *err)
{
    uint32_t kind = blx_le32_get(disk->kind);
    if (kind > BLX_TROUBLE_DAMAGED)
        return blx_error_set(err, -EBADMSG, "the trouble is out of range");
    trouble->kind = (enum blx_trouble_kind)kind;
    int rc = blx_field_check_reserved(disk->reserved, err);
    if (rc == 0)
        rc = blx_field_get_timestamp(disk->since, &trouble->since, err);
    if (rc == 0)
        rc = blx_field_get_text(disk->text, trouble->text, "the trouble", err);
    return rc;
}

size_t blx_message_put_control_agent(const struct blx_message *message, uint8_t *body)
{
    const struct blx_control_agent *agent = &message->control_agent;
    struct blx_control_agent_disk disk = {
        .status = blx_status_put(&agent->status),
        .last_checkpoint = blx_le64_of(agent->last_checkpoint),
        .last_consistency = blx_le32_of((uint32_t)agent->last_consistency),
        .volume_count = blx_le32_of(agent->volume_count),
        .connected_ms = blx_le64_of(agent->connected_ms),
        .received_bytes = blx_le64_of(agent->received_bytes),
        .last_unreadable_bytes = blx_le64_of(agent->last_unreadable_bytes),
        .sync_freq_ms = blx_le64_of(agent->sync_freq_ms),
        .away_ms = blx_le64_of(agent->away_ms),
        .rate_bytes_per_s = blx_le64_of(agent->rate_bytes_per_s),
        .volume_bytes = blx_le64_of(agent->volume_bytes),
        .freeze_ns = blx_le64_of(agent->freeze_ns),
        .failed_checkpoints = blx_le64_of(agent->failed_checkpoints),
        .sessions = blx_le64_of(agent->sessions),
        .rescans = blx_le64_of(agent->rescans),
        .total_received_bytes = blx_le64_of(agent->total_received_bytes),
        .total_freeze_ns = blx_le64_of(agent->total_freeze_ns),
        .paused_since = blx_le64_of(agent->paused_since),
        .quota_state = blx_le32_of(agent->quota_state),
        .archived_since = blx_le64_of(agent->archived_since),
        .revoked = blx_le32_of(agent->revoked),
        .rescan_place = blx_le32_of(agent->rescan_place),
        .unencrypted = blx_le32_of(agent->unencrypted),
        .cut_flags = blx_le32_of(agent->cut_flags),
        .changed_bytes = blx_le64_of(agent->changed_bytes),
        .stored_bytes = blx_le64_of(agent->stored_bytes),
        .saved_bytes = blx_le64_of(agent->saved_bytes),
        .last_time = blx_le64_of(agent->last_time),
        .clock_offset_ms = blx_le64_of((uint64_t)agent->clock_offset_ms),
        .trouble = put_trouble(&agent->trouble),
        .enrolled_since = blx_le64_of(agent->enrolled_since),
        .stalled_ms = blx_le64_of(agent->stalled_ms),
        .cert_ends_s = blx_le64_of(agent->cert_ends_s),
    };
    for (size_t i = 0; i < BLX_CONSISTENCIES; i++)
        disk.checkpoints[i] = blx_le64_of(agent->checkpoints[i]);
    blx_field_put_name(disk.agent_id, agent->agent_id);
    blx_text_put(disk.peer, sizeof(disk.peer), agent->peer);
    blx_text_put(disk.note, sizeof(disk.note), agent->note);
    blx_text_put(disk.failure, sizeof(disk.failure), agent->failure);
    blx_text_put(disk.quota, sizeof(disk.quota), agent->quota);
    blx_text_put(disk.prune_hold, sizeof(disk.prune_hold), agent->prune_hold);
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

static void get_agent_figures(const struct blx_control_agent_disk *disk,
                              struct blx_control_agent *agent)
{
    agent->volume_count = blx_le32_get(disk->volume_count);
    agent->connected_ms = blx_le64_get(disk->connected_ms);
    agent->received_bytes = blx_le64_get(disk->received_bytes);
    agent->last_unreadable_bytes = blx_le64_get(disk->last_unreadable_bytes);
    agent->sync_freq_ms = blx_le64_get(disk->sync_freq_ms);
    agent->away_ms = blx_le64_get(disk->away_ms);
    agent->rate_bytes_per_s = blx_le64_get(disk->rate_bytes_per_s);
    agent->volume_bytes = blx_le64_get(disk->volume_bytes);
    agent->freeze_ns = blx_le64_get(disk->freeze_ns);
    for (size_t i = 0; i < BLX_CONSISTENCIES; i++)
        agent->checkpoints[i] = blx_le64_get(disk->checkpoints[i]);
    agent->failed_checkpoints = blx_le64_get(disk->failed_checkpoints);
    agent->sessions = blx_le64_get(disk->sessions);
    agent->rescans = blx_le64_get(disk->rescans);
    agent->total_received_bytes = blx_le64_get(disk->total_received_bytes);
    agent->total_freeze_ns = blx_le64_get(disk->total_freeze_ns);
    agent->revoked = blx_le32_get(disk->revoked) == 1;
    agent->rescan_place = blx_le32_get(disk->rescan_place);
    agent->unencrypted = blx_le32_get(disk->unencrypted) == 1;
    agent->changed_bytes = blx_le64_get(disk->changed_bytes);
    agent->stored_bytes = blx_le64_get(disk->stored_bytes);
    agent->saved_bytes = blx_le64_get(disk->saved_bytes);
    agent->clock_offset_ms = (int64_t)blx_le64_get(disk->clock_offset_ms);
    agent->stalled_ms = blx_le64_get(disk->stalled_ms);
    agent->cert_ends_s = blx_le64_get(disk->cert_ends_s);
}

int blx_message_get_control_agent(const uint8_t *body, size_t body_bytes,
                                  struct blx_message *message, struct blx_error *err)
{
    (void)body_bytes;
    struct blx_control_agent_disk disk;
    memcpy(&disk, body, sizeof(disk));
    struct blx_control_agent *agent = &message->control_agent;
    get_agent_figures(&disk, agent);
    if (agent->volume_count > BLX_MAX_VOLUMES)
        return blx_error_set(err, -EBADMSG, "the number of volumes is out of range");
    if (blx_le32_get(disk.revoked) > 1)
        return blx_error_set(err, -EBADMSG, "the revocation is out of range");
    if (blx_le32_get(disk.unencrypted) > 1)
        return blx_error_set(err, -EBADMSG, "the lack of encryption is out of range");
    agent->quota_state = blx_le32_get(disk.quota_state);
    if (agent->quota_state > 2)
        return blx_error_set(err, -EBADMSG, "the state of the quota is out of range");
    agent->cut_flags = blx_le32_get(disk.cut_flags);
    if (!blx_cut_flags_are_valid(agent->cut_flags))
        return blx_error_set(err, -EBADMSG, "the flags of the last cut are out of range");
    int rc = blx_field_check_reserved(disk.reserved, err);
    if (rc == 0)
        rc = blx_field_get_text(disk.quota, agent->quota, "the quota", err);
    if (rc == 0)
        rc = blx_field_get_name(disk.agent_id, agent->agent_id, "agent ID", err);
    if (rc == 0)
        rc = blx_field_get_text(disk.peer, agent->peer, "the peer's address", err);
    if (rc == 0)
        rc = blx_status_get(&disk.status, BLX_AGENT_OFFLINE, &agent->status, err);
    if (rc == 0)
        rc = blx_field_get_timestamp(disk.last_checkpoint, &agent->last_checkpoint, err);
    if (rc == 0)
        rc = blx_field_get_timestamp(disk.last_time, &agent->last_time, err);
    if (rc == 0)
        rc = blx_field_get_timestamp(disk.paused_since, &agent->paused_since, err);
    if (rc == 0)
        rc = blx_field_get_timestamp(disk.archived_since, &agent->archived_since, err);
    if (rc == 0)
        rc = blx_field_get_consistency(disk.last_consistency, &agent->last_consistency, err);
    if (rc == 0)
        rc = blx_field_get_text(disk.note, agent->note, "the note", err);
    if (rc == 0)
        rc = blx_field_get_text(disk.failure, agent->failure, "the failure", err);
    if (rc == 0)
        rc = blx_field_get_text(disk.prune_hold, agent->prune_hold, "what holds retention", err);
    if (rc == 0)
        rc = get_trouble(&disk.trouble, &agent->trouble, err);
    if (rc == 0)
        rc = blx_field_get_timestamp(disk.enrolled_since, &agent->enrolled_since, err);
    return rc;
}

size_t blx_message_put_control_dispatcher(const struct blx_message *message, uint8_t *body)
{
    const struct blx_control_dispatcher *dispatcher = &message->control_dispatcher;
    struct blx_control_dispatcher_disk disk = {
        .uptime_ms = blx_le64_of(dispatcher->uptime_ms),
        .data_bytes = blx_le64_of(dispatcher->data_bytes),
        .data_free_bytes = blx_le64_of(dispatcher->data_free_bytes),
        .data_inodes = blx_le64_of(dispatcher->data_inodes),
        .data_free_inodes = blx_le64_of(dispatcher->data_free_inodes),
        .trouble = put_trouble(&dispatcher->trouble),
        .cert_ends_s = blx_le64_of(dispatcher->cert_ends_s),
        .ca_ends_s = blx_le64_of(dispatcher->ca_ends_s),
        .ca_rolls = blx_le32_of(dispatcher->ca_rolls),
        .ca_stayed = blx_le32_of(dispatcher->ca_stayed),
    };
    blx_text_put(disk.software, sizeof(disk.software), dispatcher->software);
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_control_dispatcher(const uint8_t *body, size_t body_bytes,
                                       struct blx_message *message, struct blx_error *err)
{
    (void)body_bytes;
    struct blx_control_dispatcher_disk disk;
    memcpy(&disk, body, sizeof(disk));
    struct blx_control_dispatcher *dispatcher = &message->control_dispatcher;
    dispatcher->uptime_ms = blx_le64_get(disk.uptime_ms);
    dispatcher->data_bytes = blx_le64_get(disk.data_bytes);
    dispatcher->data_free_bytes = blx_le64_get(disk.data_free_bytes);
    dispatcher->data_inodes = blx_le64_get(disk.data_inodes);
    dispatcher->data_free_inodes = blx_le64_get(disk.data_free_inodes);
    dispatcher->cert_ends_s = blx_le64_get(disk.cert_ends_s);
    dispatcher->ca_ends_s = blx_le64_get(disk.ca_ends_s);
    dispatcher->ca_rolls = blx_le32_get(disk.ca_rolls) == 1;
    dispatcher->ca_stayed = blx_le32_get(disk.ca_stayed);
    if (blx_le32_get(disk.ca_rolls) > 1)
        return blx_error_set(err, -EBADMSG, "whether the CA has a successor is not said");
    if (dispatcher->uptime_ms == 0)
        return blx_error_set(err, -EBADMSG, "the time since the start is zero");
    if (dispatcher->data_free_bytes > dispatcher->data_bytes)
        return blx_error_set(err, -EBADMSG, "more bytes are free than the filesystem has");
    if (dispatcher->data_free_inodes > dispatcher->data_inodes)
        return blx_error_set(err, -EBADMSG, "more inodes are free than the filesystem has");
    int rc = blx_field_get_text(disk.software, dispatcher->software, "the software", err);
    return rc == 0 ? get_trouble(&disk.trouble, &dispatcher->trouble, err) : rc;
}

size_t blx_message_put_control_damage(const struct blx_message *message, uint8_t *body)
{
    struct blx_control_damage_disk disk;
    blx_field_put_name(disk.agent_id, message->control_damage.agent_id);
    blx_text_put(disk.text, sizeof(disk.text), message->control_damage.text);
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_control_damage(const uint8_t *body, size_t body_bytes,
                                   struct blx_message *message, struct blx_error *err)
{
    (void)body_bytes;
    struct blx_control_damage_disk disk;
    memcpy(&disk, body, sizeof(disk));
    struct blx_control_damage *damage = &message->control_damage;
    int rc = blx_field_get_name(disk.agent_id, damage->agent_id, "agent ID", err);
    if (rc == 0)
        rc = blx_field_get_text(disk.text, damage->text, "the damage", err);
    return rc;
}
