/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies of the messages with which another machine restores a checkpoint. */
#include <errno.h>
#include <string.h>

#include "wire/message_disk_private.h"
#include "wire/text_private.h"

static int bad(struct blx_error *err, const char *reason)
{
    return blx_error_set(err, -EBADMSG, "%s", reason);
}

size_t blx_message_put_restore(const struct blx_message *message, uint8_t *body)
{
    const struct blx_restore_message *restore = &message->restore;
    struct blx_restore_disk disk = {.reserved = blx_le32_of(0)};
    memcpy(disk.secret, restore->secret, sizeof(disk.secret));
    memcpy(disk.machine, restore->machine, sizeof(disk.machine));
    blx_text_put(disk.software, sizeof(disk.software), restore->software);
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_restore(const uint8_t *body, size_t body_bytes, struct blx_message *message,
                            struct blx_error *err)
{
    (void)body_bytes;
    struct blx_restore_disk disk;
    memcpy(&disk, body, sizeof(disk));
    struct blx_restore_message *restore = &message->restore;
    memcpy(restore->secret, disk.secret, sizeof(disk.secret));
    memcpy(restore->machine, disk.machine, sizeof(disk.machine));
    int rc = blx_field_check_reserved(disk.reserved, err);
    if (rc == 0)
        rc = blx_field_get_text(disk.software, restore->software, "the software's name", err);
    return rc;
}

size_t blx_message_put_restore_offer(const struct blx_message *message, uint8_t *body)
{
    const struct blx_restore_offer *offer = &message->restore_offer;
    struct blx_restore_offer_disk disk = {
        .checkpoint = blx_le64_of(offer->checkpoint),
        .consistency = blx_le32_of((uint32_t)offer->consistency),
        .volume_count = blx_le32_of(offer->volume_count),
        .heartbeat_ms = blx_le64_of(offer->heartbeat_ms),
        .window_bytes = blx_le64_of(offer->window_bytes),
    };
    blx_field_put_name(disk.agent_id, offer->agent_id);
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_restore_offer(const uint8_t *body, size_t body_bytes,
                                  struct blx_message *message, struct blx_error *err)
{
    (void)body_bytes;
    struct blx_restore_offer_disk disk;
    memcpy(&disk, body, sizeof(disk));
    struct blx_restore_offer *offer = &message->restore_offer;
    offer->volume_count = blx_le32_get(disk.volume_count);
    offer->heartbeat_ms = blx_le64_get(disk.heartbeat_ms);
    offer->window_bytes = blx_le64_get(disk.window_bytes);
    if (offer->volume_count == 0 || offer->volume_count > BLX_MAX_VOLUMES)
        return bad(err, "the number of volumes is out of range");
    if (offer->heartbeat_ms == 0 || offer->heartbeat_ms > BLX_HEARTBEAT_MAX_MS)
        return bad(err, "the heartbeat's interval is 0, or longer than ten minutes");
    if (offer->window_bytes < BLX_FRAME_MAX_BYTES)
        return bad(err, "the window is smaller than a frame");
    int rc = blx_field_get_timestamp(disk.checkpoint, &offer->checkpoint, err);
    if (rc == 0 && offer->checkpoint == 0)
        return bad(err, "it names no checkpoint");
    if (rc == 0)
        rc = blx_field_get_consistency(disk.consistency, &offer->consistency, err);
    if (rc == 0)
        rc = blx_field_get_name(disk.agent_id, offer->agent_id, "agent ID", err);
    return rc;
}

size_t blx_message_put_restore_volume(const struct blx_message *message, uint8_t *body)
{
    const struct blx_restore_volume *volume = &message->restore_volume;
    struct blx_restore_volume_disk disk = {
        .volume = blx_le32_of(volume->volume),
        .block_shift = blx_le32_of(volume->block_shift),
        .size_bytes = blx_le64_of(volume->size_bytes),
    };
    memcpy(disk.key_id, volume->key_id.bytes, sizeof(disk.key_id));
    blx_field_put_name(disk.name, volume->name);
    blx_text_put(disk.device, sizeof(disk.device), volume->device);
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_restore_volume(const uint8_t *body, size_t body_bytes,
                                   struct blx_message *message, struct blx_error *err)
{
    (void)body_bytes;
    struct blx_restore_volume_disk disk;
    memcpy(&disk, body, sizeof(disk));
    struct blx_restore_volume *volume = &message->restore_volume;
    volume->block_shift = blx_le32_get(disk.block_shift);
    volume->size_bytes = blx_le64_get(disk.size_bytes);
    memcpy(volume->key_id.bytes, disk.key_id, sizeof(disk.key_id));
    int rc = blx_field_check_size(volume->block_shift, volume->size_bytes, err);
    if (rc == 0)
        rc = blx_field_get_volume(disk.volume, &volume->volume, err);
    if (rc == 0)
        rc = blx_field_get_name(disk.name, volume->name, "volume name", err);
    if (rc == 0)
        rc = blx_field_get_text(disk.device, volume->device, "the device's name", err);
    return rc;
}

size_t blx_message_put_plan_request(const struct blx_message *message, uint8_t *body)
{
    struct blx_plan_request_disk disk = {
        .volume = blx_le32_of(message->plan_request.volume),
        .start_block = blx_le64_of(message->plan_request.start_block),
    };
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_plan_request(const uint8_t *body, size_t body_bytes,
                                 struct blx_message *message, struct blx_error *err)
{
    (void)body_bytes;
    struct blx_plan_request_disk disk;
    memcpy(&disk, body, sizeof(disk));
    message->plan_request.start_block = blx_le64_get(disk.start_block);
    int rc = blx_field_check_reserved(disk.reserved, err);
    return rc < 0 ? rc : blx_field_get_volume(disk.volume, &message->plan_request.volume, err);
}

size_t blx_message_put_plan(const struct blx_message *message, uint8_t *body)
{
    const struct blx_plan_message *plan = &message->plan;
    struct blx_plan_disk disk = {
        .volume = blx_le32_of(plan->volume),
        .frame_count = blx_le32_of(plan->frame_count),
        .start_block = blx_le64_of(plan->start_block),
        .end_block = blx_le64_of(plan->end_block),
        .piece_count = blx_le32_of(plan->piece_count),
    };
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_plan(const uint8_t *body, size_t body_bytes, struct blx_message *message,
                         struct blx_error *err)
{
    (void)body_bytes;
    struct blx_plan_disk disk;
    memcpy(&disk, body, sizeof(disk));
    struct blx_plan_message *plan = &message->plan;
    plan->frame_count = blx_le32_get(disk.frame_count);
    plan->start_block = blx_le64_get(disk.start_block);
    plan->end_block = blx_le64_get(disk.end_block);
    plan->piece_count = blx_le32_get(disk.piece_count);
    if (plan->piece_count > BLX_PLAN_MAX_PIECES || plan->frame_count > plan->piece_count ||
        (plan->frame_count == 0) != (plan->piece_count == 0))
        return bad(err, "the number of its pieces or frames is out of range");
    if (plan->end_block <= plan->start_block)
        return bad(err, "its window is empty");
    int rc = blx_field_check_reserved(disk.reserved, err);
    return rc < 0 ? rc : blx_field_get_volume(disk.volume, &plan->volume, err);
}

size_t blx_message_put_plan_pieces(const struct blx_message *message, uint8_t *body)
{
    const struct blx_plan_pieces *pieces = &message->plan_pieces;
    struct blx_plan_pieces_disk disk = {
        .volume = blx_le32_of(pieces->volume),
        .count = blx_le32_of(pieces->count),
    };
    memcpy(body, &disk, sizeof(disk));
    size_t bytes = sizeof(disk);
    for (uint32_t i = 0; i < pieces->count && i < BLX_PLAN_PIECES_OF_A_MESSAGE; i++) {
        struct blx_plan_piece_disk piece = {
            .start_block = blx_le64_of(pieces->pieces[i].start_block),
            .block_count = blx_le32_of(pieces->pieces[i].block_count),
            .data_block = blx_le32_of(pieces->pieces[i].data_block),
            .frame_bytes = blx_le32_of(pieces->pieces[i].frame_bytes),
        };
        memcpy(body + bytes, &piece, sizeof(piece));
        bytes += sizeof(piece);
    }
    return bytes;
}

static int get_piece(const uint8_t *at, struct blx_plan_piece *piece, struct blx_error *err)
{
    struct blx_plan_piece_disk disk;
    memcpy(&disk, at, sizeof(disk));
    piece->start_block = blx_le64_get(disk.start_block);
    piece->block_count = blx_le32_get(disk.block_count);
    piece->data_block = blx_le32_get(disk.data_block);
    piece->frame_bytes = blx_le32_get(disk.frame_bytes);
    if (piece->block_count == 0)
        return bad(err, "a piece is empty");
    if (piece->start_block > UINT64_MAX - piece->block_count)
        return bad(err, "a piece's end is out of range");
    if (piece->frame_bytes > BLX_FRAME_MAX_BYTES)
        return bad(err, "a frame's size is out of range");
    return 0;
}

int blx_message_get_plan_pieces(const uint8_t *body, size_t body_bytes, struct blx_message *message,
                                struct blx_error *err)
{
    struct blx_plan_pieces_disk disk;
    memcpy(&disk, body, sizeof(disk));
    struct blx_plan_pieces *pieces = &message->plan_pieces;
    pieces->count = blx_le32_get(disk.count);
    if (pieces->count == 0 || pieces->count > BLX_PLAN_PIECES_OF_A_MESSAGE)
        return bad(err, "the number of its pieces is out of range");
    if (body_bytes != sizeof(disk) + pieces->count * sizeof(struct blx_plan_piece_disk))
        return bad(err, "its size does not fit the number of pieces");
    int rc = blx_field_get_volume(disk.volume, &pieces->volume, err);
    for (uint32_t i = 0; rc == 0 && i < pieces->count; i++)
        rc = get_piece(body + sizeof(disk) + i * sizeof(struct blx_plan_piece_disk),
                       &pieces->pieces[i], err);
    return rc;
}

size_t blx_message_put_frames_request(const struct blx_message *message, uint8_t *body)
{
    const struct blx_frames_request *request = &message->frames_request;
    struct blx_frames_request_disk disk = {
        .volume = blx_le32_of(request->volume),
        .first = blx_le32_of(request->first),
        .count = blx_le32_of(request->count),
    };
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_frames_request(const uint8_t *body, size_t body_bytes,
                                   struct blx_message *message, struct blx_error *err)
{
    (void)body_bytes;
    struct blx_frames_request_disk disk;
    memcpy(&disk, body, sizeof(disk));
    struct blx_frames_request *request = &message->frames_request;
    request->first = blx_le32_get(disk.first);
    request->count = blx_le32_get(disk.count);
    if (request->count == 0 || request->first > UINT32_MAX - request->count)
        return bad(err, "the number of frames is out of range");
    int rc = blx_field_check_reserved(disk.reserved, err);
    return rc < 0 ? rc : blx_field_get_volume(disk.volume, &request->volume, err);
}

size_t blx_message_put_restore_done(const struct blx_message *message, uint8_t *body)
{
    struct blx_restore_done_disk disk = {
        .written_bytes = blx_le64_of(message->restore_done.written_bytes),
    };
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_restore_done(const uint8_t *body, size_t body_bytes,
                                 struct blx_message *message, struct blx_error *err)
{
    (void)body_bytes;
    (void)err;
    struct blx_restore_done_disk disk;
    memcpy(&disk, body, sizeof(disk));
    message->restore_done.written_bytes = blx_le64_get(disk.written_bytes);
    return 0;
}
