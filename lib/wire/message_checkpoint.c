/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies of the messages about a checkpoint. */
#include <errno.h>
#include <string.h>

#include "wire/message_disk_private.h"
#include "wire/text_private.h"

static int bad(struct blx_error *err, const char *reason)
{
    return blx_error_set(err, -EBADMSG, "%s", reason);
}

size_t blx_message_put_checkpoint_request(const struct blx_message *message, uint8_t *body)
{
    struct blx_checkpoint_request_disk disk = {
        .request = blx_le64_of(message->checkpoint_request.request),
    };
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_checkpoint_request(const uint8_t *body, size_t body_bytes,
                                       struct blx_message *message, struct blx_error *err)
{
    (void)body_bytes;
    (void)err;
    struct blx_checkpoint_request_disk disk;
    memcpy(&disk, body, sizeof(disk));
    message->checkpoint_request.request = blx_le64_get(disk.request);
    return 0;
}

size_t blx_message_put_checkpoint(const struct blx_message *message, uint8_t *body)
{
    const struct blx_checkpoint_message *checkpoint = &message->checkpoint;
    struct blx_checkpoint_disk disk = {
        .request = blx_le64_of(checkpoint->request),
        .cut_realtime_ns = blx_le64_of(checkpoint->cut_realtime_ns),
        .freeze_ns = blx_le64_of(checkpoint->freeze_ns),
        .consistency = blx_le32_of((uint32_t)checkpoint->consistency),
        .volume_count = blx_le32_of(checkpoint->volume_count),
    };
    blx_text_put(disk.note, sizeof(disk.note), checkpoint->note);
    memcpy(body, &disk, sizeof(disk));
    size_t bytes = sizeof(disk);
    for (uint32_t i = 0; i < checkpoint->volume_count && i < BLX_MAX_VOLUMES; i++) {
        blx_le64 seq = blx_le64_of(checkpoint->last_seq[i]);
        memcpy(body + bytes, &seq, sizeof(seq));
        bytes += sizeof(seq);
    }
    if (checkpoint->cut_age_ns == BLX_CUT_AGE_UNKNOWN)
        return bytes;
    blx_le64 age = blx_le64_of(checkpoint->cut_age_ns);
    memcpy(body + bytes, &age, sizeof(age));
    bytes += sizeof(age);
    if (checkpoint->left_out == 0 && checkpoint->cut_flags == 0)
        return bytes;
    blx_le64 left_out = blx_le64_of(checkpoint->left_out);
    memcpy(body + bytes, &left_out, sizeof(left_out));
    bytes += sizeof(left_out);
    if (checkpoint->cut_flags == 0)
        return bytes;
    blx_le64 flags = blx_le64_of(checkpoint->cut_flags);
    memcpy(body + bytes, &flags, sizeof(flags));
    return bytes + sizeof(flags);
}

enum { END_FIELDS = 3 };

/* The fields at the end: the first is there with BLX_FEATURE_CUT_AGE alone, the second if volumes
 * are left out or the third is there, the third with BLX_FEATURE_CUT_FLAGS. */
static int get_end(const uint8_t *at, size_t bytes, struct blx_checkpoint_message *checkpoint,
                   struct blx_error *err)
{
    uint64_t every = UINT64_MAX >> (64 - checkpoint->volume_count);
    uint64_t fields[END_FIELDS] = {BLX_CUT_AGE_UNKNOWN};
    size_t count = bytes / sizeof(blx_le64);
    for (size_t i = 0; i < count && i < END_FIELDS; i++) {
        blx_le64 field;
        memcpy(&field, at + i * sizeof(field), sizeof(field));
        fields[i] = blx_le64_get(field);
    }
    checkpoint->cut_age_ns = fields[0];
    checkpoint->left_out = fields[1];
    checkpoint->cut_flags = (uint32_t)fields[2];
    if (count > 1 && (checkpoint->cut_age_ns == BLX_CUT_AGE_UNKNOWN ||
                      (checkpoint->left_out == 0 && count == 2) || checkpoint->left_out >= every))
        return bad(err, "the volumes that it leaves out are out of range");
    if (count > 2 && (fields[2] == 0 || fields[2] > BLX_CUT_FLAGS_ALL ||
                      !blx_cut_flags_are_valid(checkpoint->cut_flags)))
        return bad(err, "the flags of the cut are out of range");
    return 0;
}

int blx_message_get_checkpoint(const uint8_t *body, size_t body_bytes, struct blx_message *message,
                               struct blx_error *err)
{
    struct blx_checkpoint_disk disk;
    memcpy(&disk, body, sizeof(disk));
    struct blx_checkpoint_message *checkpoint = &message->checkpoint;
    checkpoint->request = blx_le64_get(disk.request);
    checkpoint->cut_realtime_ns = blx_le64_get(disk.cut_realtime_ns);
    checkpoint->freeze_ns = blx_le64_get(disk.freeze_ns);
    checkpoint->volume_count = blx_le32_get(disk.volume_count);
    if (checkpoint->volume_count == 0 || checkpoint->volume_count > BLX_MAX_VOLUMES)
        return bad(err, "the number of volumes is out of range");
    size_t known_bytes = sizeof(disk) + checkpoint->volume_count * sizeof(blx_le64);
    if (body_bytes < known_bytes || body_bytes > known_bytes + END_FIELDS * sizeof(blx_le64) ||
        (body_bytes - known_bytes) % sizeof(blx_le64) != 0)
        return bad(err, "its size does not fit the number of volumes");
    int rc = get_end(body + known_bytes, body_bytes - known_bytes, checkpoint, err);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < checkpoint->volume_count; i++) {
        blx_le64 seq;
        memcpy(&seq, body + sizeof(disk) + i * sizeof(seq), sizeof(seq));
        checkpoint->last_seq[i] = blx_le64_get(seq);
    }
    rc = blx_field_get_consistency(disk.consistency, &checkpoint->consistency, err);
    return rc < 0 ? rc : blx_field_get_text(disk.note, checkpoint->note, "the note", err);
}

size_t blx_message_put_unreadable(const struct blx_message *message, uint8_t *body)
{
    const struct blx_unreadable *unreadable = &message->unreadable;
    struct blx_unreadable_disk disk = {
        .volume = blx_le32_of(unreadable->volume),
        .extent_count = blx_le32_of(unreadable->extent_count),
    };
    memcpy(body, &disk, sizeof(disk));
    uint32_t count = unreadable->extent_count < BLX_UNREADABLE_MAX_EXTENTS
                         ? unreadable->extent_count
                         : BLX_UNREADABLE_MAX_EXTENTS;
    return sizeof(disk) + blx_field_put_extents(body + sizeof(disk), unreadable->extents, count);
}

int blx_message_get_unreadable(const uint8_t *body, size_t body_bytes, struct blx_message *message,
                               struct blx_error *err)
{
    struct blx_unreadable_disk disk;
    memcpy(&disk, body, sizeof(disk));
    struct blx_unreadable *unreadable = &message->unreadable;
    unreadable->extent_count = blx_le32_get(disk.extent_count);
    if (unreadable->extent_count == 0 || unreadable->extent_count > BLX_UNREADABLE_MAX_EXTENTS)
        return bad(err, "the number of extents is out of range");
    if (body_bytes !=
        sizeof(disk) + unreadable->extent_count * sizeof(struct blx_field_extent_disk))
        return bad(err, "its size does not fit the number of extents");
    int rc = blx_field_get_extents(body + sizeof(disk), unreadable->extents,
                                   unreadable->extent_count, err);
    return rc < 0 ? rc : blx_field_get_volume(disk.volume, &unreadable->volume, err);
}

size_t blx_message_put_checkpoint_done(const struct blx_message *message, uint8_t *body)
{
    struct blx_checkpoint_done_disk disk = {
        .request = blx_le64_of(message->checkpoint_done.request),
        .timestamp = blx_le64_of(message->checkpoint_done.timestamp),
    };
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_checkpoint_done(const uint8_t *body, size_t body_bytes,
                                    struct blx_message *message, struct blx_error *err)
{
    (void)body_bytes;
    struct blx_checkpoint_done_disk disk;
    memcpy(&disk, body, sizeof(disk));
    message->checkpoint_done.request = blx_le64_get(disk.request);
    int rc = blx_field_get_timestamp(disk.timestamp, &message->checkpoint_done.timestamp, err);
    if (rc == 0 && message->checkpoint_done.timestamp == 0)
        rc = bad(err, "it names no checkpoint");
    return rc;
}

size_t blx_message_put_checkpoint_failed(const struct blx_message *message, uint8_t *body)
{
    struct blx_checkpoint_failed_disk disk = {
        .request = blx_le64_of(message->checkpoint_failed.request),
    };
    blx_text_put(disk.reason, sizeof(disk.reason), message->checkpoint_failed.reason);
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_checkpoint_failed(const uint8_t *body, size_t body_bytes,
                                      struct blx_message *message, struct blx_error *err)
{
    (void)body_bytes;
    struct blx_checkpoint_failed_disk disk;
    memcpy(&disk, body, sizeof(disk));
    message->checkpoint_failed.request = blx_le64_get(disk.request);
    return blx_field_get_text(disk.reason, message->checkpoint_failed.reason, "the reason", err);
}
