/* The bodies of what `blxrep` and the dispatcher say to each other over DIR/control.sock. */
#include <errno.h>
#include <string.h>

#include "wire/message_disk.h"
#include "wire/text.h"

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

size_t blx_message_put_control_status(const struct blx_message *message, uint8_t *body)
{
    return blx_message_put_ping(message, body);
}

int blx_message_get_control_status(const uint8_t *body, size_t body_bytes,
                                   struct blx_message *message, struct blx_error *err)
{
    return blx_message_get_ping(body, body_bytes, message, err);
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
    };
    blx_field_put_name(disk.agent_id, agent->agent_id);
    blx_text_put(disk.peer, sizeof(disk.peer), agent->peer);
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_control_agent(const uint8_t *body, size_t body_bytes,
                                  struct blx_message *message, struct blx_error *err)
{
    (void)body_bytes;
    struct blx_control_agent_disk disk;
    memcpy(&disk, body, sizeof(disk));
    struct blx_control_agent *agent = &message->control_agent;
    agent->volume_count = blx_le32_get(disk.volume_count);
    agent->connected_ms = blx_le64_get(disk.connected_ms);
    agent->received_bytes = blx_le64_get(disk.received_bytes);
    agent->last_unreadable_bytes = blx_le64_get(disk.last_unreadable_bytes);
    if (agent->volume_count > BLX_MAX_VOLUMES)
        return blx_error_set(err, -EBADMSG, "the number of volumes is out of range");
    int rc = blx_field_get_name(disk.agent_id, agent->agent_id, "agent ID", err);
    if (rc == 0)
        rc = blx_field_get_text(disk.peer, agent->peer, "the peer's address", err);
    if (rc == 0)
        rc = blx_status_get(&disk.status, BLX_AGENT_OFFLINE, &agent->status, err);
    if (rc == 0)
        rc = blx_field_get_timestamp(disk.last_checkpoint, &agent->last_checkpoint, err);
    if (rc == 0)
        rc = blx_field_get_consistency(disk.last_consistency, &agent->last_consistency, err);
    return rc;
}
