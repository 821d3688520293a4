/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies of the messages with which another dispatcher copies checkpoints. */
#include <errno.h>
#include <string.h>

#include "wire/message_disk_private.h"
#include "wire/text_private.h"

static int bad(struct blx_error *err, const char *reason)
{
    return blx_error_set(err, -EBADMSG, "%s", reason);
}

size_t blx_message_put_copy_request(const struct blx_message *message, uint8_t *body)
{
    const struct blx_copy_request *request = &message->copy_request;
    struct blx_copy_request_disk disk = {
        .kind = blx_le32_of((uint32_t)request->kind),
        .checkpoint = blx_le64_of(request->checkpoint),
        .have = blx_le64_of(request->have),
    };
    blx_field_put_name(disk.agent_id, request->agent_id);
    memcpy(disk.hash, request->hash, sizeof(disk.hash));
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

static int check_request(const struct blx_copy_request *request, struct blx_error *err)
{
    bool of_checkpoint = request->kind == BLX_COPY_CHECKPOINT;
    if (of_checkpoint != (request->checkpoint != 0))
        return bad(err, of_checkpoint ? "it names no checkpoint" : "a list is of no checkpoint");
    if (of_checkpoint && request->have >= request->checkpoint)
        return bad(err, "what the copy has is not older than what it asks for");
    if (request->kind == BLX_COPY_AGENTS && request->have != 0)
        return bad(err, "the list of agents has no beginning");
    return 0;
}

int blx_message_get_copy_request(const uint8_t *body, size_t body_bytes,
                                 struct blx_message *message, struct blx_error *err)
{
    (void)body_bytes;
    struct blx_copy_request_disk disk;
    memcpy(&disk, body, sizeof(disk));
    struct blx_copy_request *request = &message->copy_request;
    uint32_t kind = blx_le32_get(disk.kind);
    if (kind < BLX_COPY_AGENTS || kind > BLX_COPY_CHECKPOINT)
        return bad(err, "its kind is unknown");
    request->kind = (enum blx_copy_kind)kind;
    memcpy(request->hash, disk.hash, sizeof(request->hash));
    int rc = blx_field_check_reserved(disk.reserved, err);
    if (rc == 0 && request->kind != BLX_COPY_AGENTS)
        rc = blx_field_get_name(disk.agent_id, request->agent_id, "agent ID", err);
    else if (rc == 0 && disk.agent_id[0] != '\0')
        return bad(err, "the list of agents is of no agent");
    if (rc == 0)
        rc = blx_field_get_timestamp(disk.checkpoint, &request->checkpoint, err);
    if (rc == 0)
        rc = blx_field_get_timestamp(disk.have, &request->have, err);
    return rc < 0 ? rc : check_request(request, err);
}

size_t blx_message_put_copy_item(const struct blx_message *message, uint8_t *body)
{
    const struct blx_copy_item *item = &message->copy_item;
    struct blx_copy_item_disk disk = {.checkpoint = blx_le64_of(item->checkpoint)};
    blx_field_put_name(disk.agent_id, item->agent_id);
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_copy_item(const uint8_t *body, size_t body_bytes, struct blx_message *message,
                              struct blx_error *err)
{
    (void)body_bytes;
    struct blx_copy_item_disk disk;
    memcpy(&disk, body, sizeof(disk));
    struct blx_copy_item *item = &message->copy_item;
    int rc = blx_field_get_name(disk.agent_id, item->agent_id, "agent ID", err);
    return rc < 0 ? rc : blx_field_get_timestamp(disk.checkpoint, &item->checkpoint, err);
}

size_t blx_message_put_copy_file(const struct blx_message *message, uint8_t *body)
{
    const struct blx_copy_file *file = &message->copy_file;
    struct blx_copy_file_disk disk = {
        .volume = blx_le32_of(file->volume),
        .number = blx_le32_of(file->number),
        .bytes = blx_le64_of(file->bytes),
    };
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_copy_file(const uint8_t *body, size_t body_bytes, struct blx_message *message,
                              struct blx_error *err)
{
    (void)body_bytes;
    struct blx_copy_file_disk disk;
    memcpy(&disk, body, sizeof(disk));
    struct blx_copy_file *file = &message->copy_file;
    file->number = blx_le32_get(disk.number);
    file->bytes = blx_le64_get(disk.bytes);
    if (file->bytes < BLX_COPY_PIECE_LEAST_BYTES || file->bytes > BLX_COPY_FILE_BYTES ||
        (file->number == 0 && file->bytes > BLX_COPY_MANIFEST_BYTES))
        return bad(err, "the file's size is out of range");
    return blx_field_get_volume(disk.volume, &file->volume, err);
}

size_t blx_message_put_copy_take(const struct blx_message *message, uint8_t *body)
{
    struct blx_copy_take_disk disk = {
        .offset_bytes = blx_le64_of(message->copy_take.offset_bytes),
    };
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_copy_take(const uint8_t *body, size_t body_bytes, struct blx_message *message,
                              struct blx_error *err)
{
    (void)body_bytes;
    struct blx_copy_take_disk disk;
    memcpy(&disk, body, sizeof(disk));
    message->copy_take.offset_bytes = blx_le64_get(disk.offset_bytes);
    return message->copy_take.offset_bytes > BLX_COPY_FILE_BYTES
               ? bad(err, "its offset is out of range")
               : 0;
}

static size_t put_hash(const struct blx_copy_hash *hash, uint8_t *body)
{
    struct blx_copy_hash_disk disk;
    memcpy(disk.hash, hash->hash, sizeof(disk.hash));
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

size_t blx_message_put_copy_end(const struct blx_message *message, uint8_t *body)
{
    return put_hash(&message->copy_end, body);
}

int blx_message_get_copy_end(const uint8_t *body, size_t body_bytes, struct blx_message *message,
                             struct blx_error *err)
{
    (void)body_bytes;
    (void)err;
    memcpy(message->copy_end.hash, body, sizeof(message->copy_end.hash));
    return 0;
}

size_t blx_message_put_copy_done(const struct blx_message *message, uint8_t *body)
{
    return put_hash(&message->copy_done, body);
}

int blx_message_get_copy_done(const uint8_t *body, size_t body_bytes, struct blx_message *message,
                              struct blx_error *err)
{
    (void)body_bytes;
    (void)err;
    memcpy(message->copy_done.hash, body, sizeof(message->copy_done.hash));
    return 0;
}

size_t blx_message_put_control_pulled(const struct blx_message *message, uint8_t *body)
{
    const struct blx_control_pulled *copy = &message->control_pulled;
    struct blx_control_pulled_disk disk = {.checkpoint = blx_le64_of(copy->checkpoint),
                                           .looked_s = blx_le64_of(copy->looked_s)};
    blx_field_put_name(disk.agent_id, copy->agent_id);
    blx_text_put(disk.source, sizeof(disk.source), copy->source);
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_control_pulled(const uint8_t *body, size_t body_bytes,
                                   struct blx_message *message, struct blx_error *err)
{
    (void)body_bytes;
    struct blx_control_pulled_disk disk;
    memcpy(&disk, body, sizeof(disk));
    struct blx_control_pulled *copy = &message->control_pulled;
    copy->looked_s = blx_le64_get(disk.looked_s);
    int rc = blx_field_get_name(disk.agent_id, copy->agent_id, "agent ID", err);
    if (rc == 0)
        rc = blx_field_get_timestamp(disk.checkpoint, &copy->checkpoint, err);
    return rc < 0 ? rc : blx_field_get_text(disk.source, copy->source, "the source", err);
}
