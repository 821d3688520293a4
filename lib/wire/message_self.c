/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies of the messages in which an agent tells `blxrep` of itself, over RUN_DIR/control.sock.
 */
#include <errno.h>
#include <string.h>

#include "wire/message_disk_private.h"
#include "wire/text_private.h"

enum { FLAG_ENCRYPTS = 1, FLAG_KNOWS_CHECKPOINT = 2, FLAGS = 3 };

size_t blx_message_put_control_self(const struct blx_message *message, uint8_t *body)
{
    const struct blx_control_self *self = &message->control_self;
    struct blx_control_self_disk disk = {
        .uptime_ms = blx_le64_of(self->uptime_ms),
        .cert_ends_s = blx_le64_of(self->cert_ends_s),
        .refusal_ms = blx_le64_of(self->refusal_ms),
        .flags = blx_le32_of((self->encrypts ? FLAG_ENCRYPTS : 0U) |
                             (self->knows_checkpoint ? FLAG_KNOWS_CHECKPOINT : 0U)),
        .left_over = blx_le32_of(self->left_over),
    };
    blx_text_put(disk.dispatcher_addr, sizeof(disk.dispatcher_addr), self->dispatcher_addr);
    blx_text_put(disk.software, sizeof(disk.software), self->software);
    blx_text_put(disk.refusal, sizeof(disk.refusal), self->refusal);
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_control_self(const uint8_t *body, size_t body_bytes,
                                 struct blx_message *message, struct blx_error *err)
{
    (void)body_bytes;
    struct blx_control_self_disk disk;
    memcpy(&disk, body, sizeof(disk));
    struct blx_control_self *self = &message->control_self;
    const uint32_t flags = blx_le32_get(disk.flags);
    if ((flags & ~(uint32_t)FLAGS) != 0)
        return blx_error_set(err, -EBADMSG, "the flags are unknown: %#x", flags);
    self->encrypts = (flags & FLAG_ENCRYPTS) != 0;
    self->knows_checkpoint = (flags & FLAG_KNOWS_CHECKPOINT) != 0;
    self->uptime_ms = blx_le64_get(disk.uptime_ms);
    self->cert_ends_s = blx_le64_get(disk.cert_ends_s);
    self->refusal_ms = blx_le64_get(disk.refusal_ms);
    self->left_over = blx_le32_get(disk.left_over);
    int rc = blx_field_get_text(disk.dispatcher_addr, self->dispatcher_addr, "the address", err);
    if (rc == 0)
        rc = blx_field_get_text(disk.software, self->software, "the software", err);
    if (rc == 0)
        rc = blx_field_get_text(disk.refusal, self->refusal, "the refusal", err);
    return rc;
}

size_t blx_message_put_control_disk(const struct blx_message *message, uint8_t *body)
{
    const struct blx_control_disk *told = &message->control_disk;
    struct blx_control_disk_disk disk = {
        .state = blx_le32_of((uint32_t)told->state),
        .size_bytes = blx_le64_of(told->size_bytes),
        .dirty_bytes = blx_le64_of(told->dirty_bytes),
        .unreadable_bytes = blx_le64_of(told->unreadable_bytes),
        .done_bytes = blx_le64_of(told->done_bytes),
        .total_bytes = blx_le64_of(told->total_bytes),
        .tracked_events = blx_le64_of(told->tracked_events),
        .missed_events = blx_le64_of(told->missed_events),
    };
    blx_text_put(disk.path, sizeof(disk.path), told->path);
    blx_text_put(disk.text, sizeof(disk.text), told->text);
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_control_disk(const uint8_t *body, size_t body_bytes,
                                 struct blx_message *message, struct blx_error *err)
{
    (void)body_bytes;
    struct blx_control_disk_disk disk;
    memcpy(&disk, body, sizeof(disk));
    struct blx_control_disk *told = &message->control_disk;
    const uint32_t state = blx_le32_get(disk.state);
    if (state < BLX_DISK_PROTECTED || state > BLX_DISK_EXCLUDED)
        return blx_error_set(err, -EBADMSG, "the disk's state is out of range");
    told->state = (enum blx_disk_state)state;
    told->size_bytes = blx_le64_get(disk.size_bytes);
    told->dirty_bytes = blx_le64_get(disk.dirty_bytes);
    told->unreadable_bytes = blx_le64_get(disk.unreadable_bytes);
    told->done_bytes = blx_le64_get(disk.done_bytes);
    told->total_bytes = blx_le64_get(disk.total_bytes);
    told->tracked_events = blx_le64_get(disk.tracked_events);
    told->missed_events = blx_le64_get(disk.missed_events);
    int rc = blx_field_check_reserved(disk.reserved, err);
    if (rc == 0)
        rc = blx_field_get_text(disk.path, told->path, "the path", err);
    if (rc == 0)
        rc = blx_field_get_text(disk.text, told->text, "the reason", err);
    return rc;
}
