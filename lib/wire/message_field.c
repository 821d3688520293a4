/* SPDX-License-Identifier: Apache-2.0 */
/* The fields that several bodies share, and their checks. message_disk_private.h declares them. */
#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "wire/message_disk_private.h"
#include "wire/text_private.h"

static int bad(struct blx_error *err, const char *what, const char *why)
{
    return blx_error_set(err, -EBADMSG, "%s %s", what, why);
}

int blx_field_get_text(const char *field, char text[BLX_TEXT_BYTES], const char *what,
                       struct blx_error *err)
{
    if (!blx_text_is_valid(field, BLX_TEXT_BYTES))
        return bad(err, what, "is not printable text");
    memcpy(text, field, BLX_TEXT_BYTES);
    blx_text_clean(text);
    return 0;
}

int blx_field_get_name(const char *field, char name[BLX_NAME_BYTES], const char *what,
                       struct blx_error *err)
{
    /* First whether it is printable, because blx_name_check() quotes the name in its message. */
    if (!blx_text_is_valid(field, BLX_NAME_FIELD_BYTES))
        return bad(err, what, "is not printable text");
    if (blx_name_check(what, field, err) < 0)
        return -EBADMSG;
    memcpy(name, field, BLX_NAME_BYTES);
    return 0;
}

void blx_field_put_name(char *field, const char *name)
{
    memset(field, 0, BLX_NAME_FIELD_BYTES);
    memcpy(field, name, strnlen(name, BLX_NAME_BYTES - 1));
}

int blx_field_get_volume(blx_le32 field, uint32_t *volume, struct blx_error *err)
{
    if (blx_le32_get(field) >= BLX_MAX_VOLUMES)
        return bad(err, "the volume's index", "is out of range");
    *volume = blx_le32_get(field);
    return 0;
}

int blx_field_check_size(uint32_t block_shift, uint64_t size_bytes, struct blx_error *err)
{
    if (block_shift < BLX_BLOCK_SHIFT_MIN || block_shift > BLX_BLOCK_SHIFT_MAX)
        return bad(err, "the block size", "is out of range");
    if (size_bytes == 0 || size_bytes > INT64_MAX || size_bytes % 512 != 0)
        return bad(err, "the volume's size", "is not the size of a disk");
    return 0;
}

int blx_field_get_timestamp(blx_le64 field, blx_timestamp *timestamp, struct blx_error *err)
{
    blx_timestamp value = blx_le64_get(field);
    blx_timestamp same = 0;
    if (value != 0) {
        char text[BLX_TIMESTAMP_TEXT_BYTES];
        blx_timestamp_format(value, text);
        if (blx_timestamp_parse(text, &same, NULL) < 0 || same != value)
            return bad(err, "the timestamp", "is not a real date and time");
    }
    *timestamp = value;
    return 0;
}

int blx_field_get_consistency(blx_le32 field, enum blx_consistency *consistency,
                              struct blx_error *err)
{
    if (blx_le32_get(field) > BLX_CONSISTENCY_FILESYSTEM)
        return bad(err, "the consistency", "is out of range");
    *consistency = (enum blx_consistency)blx_le32_get(field);
    return 0;
}

int blx_field_check_reserved(blx_le32 field, struct blx_error *err)
{
    return blx_le32_get(field) == 0 ? 0 : bad(err, "a reserved field", "is not zero");
}

struct blx_status_disk blx_status_put(const struct blx_status *status)
{
    struct blx_status_disk disk = {
        .state = blx_le32_of((uint32_t)status->state),
        .eta_seconds = blx_le32_of(status->eta_seconds),
        .dirty_bytes = blx_le64_of(status->dirty_bytes),
        .unreadable_bytes = blx_le64_of(status->unreadable_bytes),
        .done_bytes = blx_le64_of(status->done_bytes),
        .total_bytes = blx_le64_of(status->total_bytes),
        .missed_events = blx_le64_of(status->missed_events),
        .tracked_events = blx_le64_of(status->tracked_events),
        .passthrough_commands = blx_le64_of(status->passthrough_commands),
        .unseen_sectors = blx_le64_of(status->unseen_sectors),
    };
    blx_text_put(disk.reason, sizeof(disk.reason), status->reason);
    return disk;
}

int blx_status_get(const struct blx_status_disk *disk, enum blx_agent_state least,
                   struct blx_status *status, struct blx_error *err)
{
    uint32_t state = blx_le32_get(disk->state);
    if (state < (uint32_t)least || state > BLX_AGENT_RESCAN)
        return bad(err, "the state", "is out of range");
    status->state = (enum blx_agent_state)state;
    status->eta_seconds = blx_le32_get(disk->eta_seconds);
    status->dirty_bytes = blx_le64_get(disk->dirty_bytes);
    status->unreadable_bytes = blx_le64_get(disk->unreadable_bytes);
    status->done_bytes = blx_le64_get(disk->done_bytes);
    status->total_bytes = blx_le64_get(disk->total_bytes);
    status->missed_events = blx_le64_get(disk->missed_events);
    status->tracked_events = blx_le64_get(disk->tracked_events);
    status->passthrough_commands = blx_le64_get(disk->passthrough_commands);
    status->unseen_sectors = blx_le64_get(disk->unseen_sectors);
    return blx_field_get_text(disk->reason, status->reason, "the reason", err);
}

bool blx_field_are_texts(const char *texts, size_t bytes)
{
    for (size_t at = 0; at < bytes;) {
        size_t length = strnlen(texts + at, bytes - at);
        if (length == 0 || at + length == bytes || !blx_text_is_valid(texts + at, length + 1))
            return false;
        at += length + 1;
    }
    return true;
}

size_t blx_field_put_extents(uint8_t *body, const struct blx_extent *extents, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct blx_field_extent_disk disk = {
            .start_block = blx_le64_of(extents[i].start_block),
            .block_count = blx_le64_of(extents[i].block_count),
        };
        memcpy(body + i * sizeof(disk), &disk, sizeof(disk));
    }
    return count * sizeof(struct blx_field_extent_disk);
}

int blx_field_get_extents(const uint8_t *body, struct blx_extent *extents, uint32_t count,
                          struct blx_error *err)
{
    uint64_t end = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct blx_field_extent_disk disk;
        memcpy(&disk, body + i * sizeof(disk), sizeof(disk));
        uint64_t start = blx_le64_get(disk.start_block), blocks = blx_le64_get(disk.block_count);
        if (blocks == 0 || start < end || blocks > UINT64_MAX - start)
            return bad(err, "its extents", "are not in order");
        end = start + blocks;
        extents[i] = (struct blx_extent){start, blocks};
    }
    return 0;
}
