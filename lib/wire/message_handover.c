/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies of the messages about an agent that goes to another machine, and about machines that
 * restore now. */
#include <errno.h>
#include <string.h>

#include "wire/message_disk_private.h"
#include "wire/text_private.h"

static int bad(struct blx_error *err, const char *reason)
{
    return blx_error_set(err, -EBADMSG, "%s", reason);
}

size_t blx_message_put_handover(const struct blx_message *message, uint8_t *body)
{
    (void)message;
    (void)body;
    return 0;
}

int blx_message_get_handover(const uint8_t *body, size_t body_bytes, struct blx_message *message,
                             struct blx_error *err)
{
    (void)body;
    (void)body_bytes;
    (void)message;
    (void)err;
    return 0;
}

size_t blx_message_put_hardware(const struct blx_message *message, uint8_t *body)
{
    struct blx_hardware_disk disk;
    memcpy(disk.identity, message->hardware.identity, sizeof(disk.identity));
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_hardware(const uint8_t *body, size_t body_bytes, struct blx_message *message,
                             struct blx_error *err)
{
    (void)body_bytes;
    (void)err;
    struct blx_hardware_disk disk;
    memcpy(&disk, body, sizeof(disk));
    memcpy(message->hardware.identity, disk.identity, sizeof(disk.identity));
    return 0;
}

size_t blx_message_put_control_restore(const struct blx_message *message, uint8_t *body)
{
    const struct blx_control_restore *restore = &message->control_restore;
    struct blx_control_restore_disk disk = {
        .checkpoint = blx_le64_of(restore->checkpoint),
        .number = blx_le32_of(restore->number),
        .volume_count = blx_le32_of(restore->volume_count),
        .volume_bytes = blx_le64_of(restore->volume_bytes),
        .done_bytes = blx_le64_of(restore->done_bytes),
        .sent_bytes = blx_le64_of(restore->sent_bytes),
        .rate_bytes_per_s = blx_le64_of(restore->rate_bytes_per_s),
        .connected_ms = blx_le64_of(restore->connected_ms),
        .eta_seconds = blx_le32_of(restore->eta_seconds),
        .flags = blx_le32_of(restore->takes_over ? BLX_CONTROL_RESTORE_TAKES_OVER : 0),
    };
    blx_field_put_name(disk.agent_id, restore->agent_id);
    blx_field_put_name(disk.volume, restore->volume);
    blx_text_put(disk.peer, sizeof(disk.peer), restore->peer);
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_control_restore(const uint8_t *body, size_t body_bytes,
                                    struct blx_message *message, struct blx_error *err)
{
    (void)body_bytes;
    struct blx_control_restore_disk disk;
    memcpy(&disk, body, sizeof(disk));
    struct blx_control_restore *restore = &message->control_restore;
    uint32_t flags = blx_le32_get(disk.flags);
    restore->number = blx_le32_get(disk.number);
    restore->volume_count = blx_le32_get(disk.volume_count);
    restore->volume_bytes = blx_le64_get(disk.volume_bytes);
    restore->done_bytes = blx_le64_get(disk.done_bytes);
    restore->sent_bytes = blx_le64_get(disk.sent_bytes);
    restore->rate_bytes_per_s = blx_le64_get(disk.rate_bytes_per_s);
    restore->connected_ms = blx_le64_get(disk.connected_ms);
    restore->eta_seconds = blx_le32_get(disk.eta_seconds);
    restore->takes_over = (flags & BLX_CONTROL_RESTORE_TAKES_OVER) != 0;
    if ((flags & ~(uint32_t)BLX_CONTROL_RESTORE_TAKES_OVER) != 0)
        return bad(err, "it has unknown flags");
    if (restore->volume_count == 0 || restore->volume_count > BLX_MAX_VOLUMES ||
        restore->number > restore->volume_count || restore->done_bytes > restore->volume_bytes)
        return bad(err, "a number is out of range");
    int rc = blx_field_get_timestamp(disk.checkpoint, &restore->checkpoint, err);
    if (rc == 0)
        rc = blx_field_get_name(disk.agent_id, restore->agent_id, "agent ID", err);
    if (rc == 0)
        rc = blx_field_get_name(disk.volume, restore->volume, "volume name", err);
    if (rc == 0)
        rc = blx_field_get_text(disk.peer, restore->peer, "the address", err);
    return rc;
}

size_t blx_message_put_control_handover(const struct blx_message *message, uint8_t *body)
{
    const struct blx_control_handover *handover = &message->control_handover;
    struct blx_control_handover_disk disk = {
        .state = blx_le32_of((uint32_t)handover->state),
        .since = blx_le64_of(handover->since),
        .checkpoint = blx_le64_of(handover->checkpoint),
        .refused = blx_le64_of(handover->refused),
        .refused_ms = blx_le64_of(handover->refused_ms),
    };
    blx_field_put_name(disk.agent_id, handover->agent_id);
    blx_text_put(disk.peer, sizeof(disk.peer), handover->peer);
    blx_text_put(disk.refused_peer, sizeof(disk.refused_peer), handover->refused_peer);
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_control_handover(const uint8_t *body, size_t body_bytes,
                                     struct blx_message *message, struct blx_error *err)
{
    (void)body_bytes;
    struct blx_control_handover_disk disk;
    memcpy(&disk, body, sizeof(disk));
    struct blx_control_handover *handover = &message->control_handover;
    uint32_t state = blx_le32_get(disk.state);
    if (state == BLX_HANDOVER_NONE || state >= BLX_HANDOVER_STATES)
        return bad(err, "its state is out of range");
    handover->state = (enum blx_handover_state)state;
    handover->refused = blx_le64_get(disk.refused);
    handover->refused_ms = blx_le64_get(disk.refused_ms);
    int rc = blx_field_check_reserved(disk.reserved, err);
    if (rc == 0)
        rc = blx_field_get_name(disk.agent_id, handover->agent_id, "agent ID", err);
    if (rc == 0)
        rc = blx_field_get_timestamp(disk.since, &handover->since, err);
    if (rc == 0)
        rc = blx_field_get_timestamp(disk.checkpoint, &handover->checkpoint, err);
    if (rc == 0)
        rc = blx_field_get_text(disk.peer, handover->peer, "the address", err);
    if (rc == 0)
        rc = blx_field_get_text(disk.refused_peer, handover->refused_peer, "the address", err);
    return rc;
}
