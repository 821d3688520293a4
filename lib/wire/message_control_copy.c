/* SPDX-License-Identifier: Apache-2.0 */
/* The body of CONTROL_COPY. */
#include <errno.h>
#include <string.h>

#include "wire/message_disk_private.h"
#include "wire/text_private.h"

size_t blx_message_put_control_copy(const struct blx_message *message, uint8_t *body)
{
    const struct blx_control_copy *copy = &message->control_copy;
    struct blx_control_copy_disk disk = {
        .flags = blx_le32_of((copy->late ? (uint32_t)BLX_CONTROL_COPY_LATE : 0) |
                             (copy->locked ? (uint32_t)BLX_CONTROL_COPY_LOCKED : 0) |
                             (copy->wants_lock ? (uint32_t)BLX_CONTROL_COPY_WANTS_LOCK : 0) |
                             (copy->some_may ? (uint32_t)BLX_CONTROL_COPY_SOME_MAY : 0)),
        .newest = blx_le64_of(copy->newest),
        .copied_s = blx_le64_of(copy->copied_s),
        .locked_until_s = blx_le64_of(copy->locked_until_s),
        .tried_s = blx_le64_of(copy->tried_s),
        .waiting_s = blx_le64_of(copy->waiting_s),
        .strange = blx_le64_of(copy->strange),
    };
    blx_field_put_name(disk.agent_id, copy->agent_id);
    blx_text_put(disk.place, sizeof(disk.place), copy->place);
    blx_text_put(disk.not_locked, sizeof(disk.not_locked), copy->not_locked);
    blx_text_put(disk.failure, sizeof(disk.failure), copy->failure);
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_control_copy(const uint8_t *body, size_t body_bytes,
                                 struct blx_message *message, struct blx_error *err)
{
    (void)body_bytes;
    struct blx_control_copy_disk disk;
    memcpy(&disk, body, sizeof(disk));
    struct blx_control_copy *copy = &message->control_copy;
    uint32_t flags = blx_le32_get(disk.flags);
    if ((flags & ~(uint32_t)BLX_CONTROL_COPY_FLAGS) != 0)
        return blx_error_set(err, -EBADMSG, "it has unknown flags");
    copy->late = (flags & BLX_CONTROL_COPY_LATE) != 0;
    copy->locked = (flags & BLX_CONTROL_COPY_LOCKED) != 0;
    copy->wants_lock = (flags & BLX_CONTROL_COPY_WANTS_LOCK) != 0;
    copy->some_may = (flags & BLX_CONTROL_COPY_SOME_MAY) != 0;
    copy->newest = blx_le64_get(disk.newest);
    copy->copied_s = blx_le64_get(disk.copied_s);
    copy->locked_until_s = blx_le64_get(disk.locked_until_s);
    copy->tried_s = blx_le64_get(disk.tried_s);
    copy->waiting_s = blx_le64_get(disk.waiting_s);
    copy->strange = blx_le64_get(disk.strange);
    int rc = blx_field_check_reserved(disk.reserved, err);
    if (rc == 0 && copy->newest != 0)
        rc = blx_field_get_timestamp(disk.newest, &copy->newest, err);
    if (rc == 0)
        rc = blx_field_get_name(disk.agent_id, copy->agent_id, "agent ID", err);
    if (rc == 0)
        rc = blx_field_get_text(disk.place, copy->place, "the place", err);
    if (rc == 0)
        rc = blx_field_get_text(disk.not_locked, copy->not_locked, "the lock's text", err);
    if (rc == 0)
        rc = blx_field_get_text(disk.failure, copy->failure, "the failure", err);
    return rc;
}
