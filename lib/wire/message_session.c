/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies of the messages of a session, between agent and dispatcher. */
#include <errno.h>
#include <string.h>

#include "wire/message_disk_private.h"
#include "wire/text_private.h"

static int bad(struct blx_error *err, const char *reason)
{
    return blx_error_set(err, -EBADMSG, "%s", reason);
}

static size_t put_body(uint8_t *body, const void *disk, size_t bytes)
{
    memcpy(body, disk, bytes);
    return bytes;
}

size_t blx_message_put_hello(const struct blx_message *message, uint8_t *body)
{
    const struct blx_hello *hello = &message->hello;
    struct blx_hello_disk disk = {
        .version_min = blx_le32_of(hello->version_min),
        .version_max = blx_le32_of(hello->version_max),
        .features = blx_le64_of(hello->features),
        .volume_count = blx_le32_of(hello->volume_count),
    };
    blx_field_put_name(disk.agent_id, hello->agent_id);
    blx_text_put(disk.software, sizeof(disk.software), hello->software);
    memcpy(disk.instance, hello->instance.bytes, sizeof(disk.instance));
    return put_body(body, &disk, sizeof(disk));
}

int blx_message_get_hello(const uint8_t *body, size_t body_bytes, struct blx_message *message,
                          struct blx_error *err)
{
    (void)body_bytes;
    struct blx_hello_disk disk;
    memcpy(&disk, body, sizeof(disk));
    struct blx_hello *hello = &message->hello;
    hello->version_min = blx_le32_get(disk.version_min);
    hello->version_max = blx_le32_get(disk.version_max);
    hello->features = blx_le64_get(disk.features);
    hello->volume_count = blx_le32_get(disk.volume_count);
    memcpy(hello->instance.bytes, disk.instance, sizeof(disk.instance));
    if (hello->version_min == 0 || hello->version_min > hello->version_max)
        return bad(err, "its range of versions is empty");
    if (hello->volume_count == 0 || hello->volume_count > BLX_MAX_VOLUMES)
        return bad(err, "the number of volumes is out of range");
    int rc = blx_field_check_reserved(disk.reserved, err);
    if (rc == 0)
        rc = blx_field_get_name(disk.agent_id, hello->agent_id, "agent ID", err);
    if (rc == 0)
        rc = blx_field_get_text(disk.software, hello->software, "the software's name", err);
    return rc;
}

size_t blx_message_put_welcome(const struct blx_message *message, uint8_t *body)
{
    const struct blx_welcome *welcome = &message->welcome;
    struct blx_welcome_disk disk = {
        .version = blx_le32_of(welcome->version),
        .features = blx_le64_of(welcome->features),
        .sync_freq_ms = blx_le64_of(welcome->sync_freq_ms),
        .heartbeat_ms = blx_le64_of(welcome->heartbeat_ms),
        .window_bytes = blx_le64_of(welcome->window_bytes),
        .last_checkpoint = blx_le64_of(welcome->last_checkpoint),
    };
    return put_body(body, &disk, sizeof(disk));
}

int blx_message_get_welcome(const uint8_t *body, size_t body_bytes, struct blx_message *message,
                            struct blx_error *err)
{
    (void)body_bytes;
    struct blx_welcome_disk disk;
    memcpy(&disk, body, sizeof(disk));
    struct blx_welcome *welcome = &message->welcome;
    welcome->version = blx_le32_get(disk.version);
    welcome->features = blx_le64_get(disk.features);
    welcome->sync_freq_ms = blx_le64_get(disk.sync_freq_ms);
    welcome->heartbeat_ms = blx_le64_get(disk.heartbeat_ms);
    welcome->window_bytes = blx_le64_get(disk.window_bytes);
    if (welcome->version == 0)
        return bad(err, "version 0 does not exist");
    if (welcome->heartbeat_ms == 0 || welcome->heartbeat_ms > BLX_HEARTBEAT_MAX_MS)
        return bad(err, "the heartbeat's interval is 0, or longer than ten minutes");
    if (welcome->window_bytes == 0)
        return bad(err, "the window is 0");
    int rc = blx_field_check_reserved(disk.reserved, err);
    if (rc == 0)
        rc = blx_field_get_timestamp(disk.last_checkpoint, &welcome->last_checkpoint, err);
    return rc;
}

size_t blx_message_put_key(const struct blx_message *message, uint8_t *body)
{
    struct blx_key_disk disk;
    memcpy(disk.key_id, message->key.key_id.bytes, sizeof(disk.key_id));
    return put_body(body, &disk, sizeof(disk));
}

int blx_message_get_key(const uint8_t *body, size_t body_bytes, struct blx_message *message,
                        struct blx_error *err)
{
    (void)body_bytes;
    struct blx_key_disk disk;
    memcpy(&disk, body, sizeof(disk));
    memcpy(message->key.key_id.bytes, disk.key_id, sizeof(disk.key_id));
    return blx_key_id_is_none(&message->key.key_id) ? bad(err, "it names no key") : 0;
}

size_t blx_message_put_digest_key(const struct blx_message *message, uint8_t *body)
{
    struct blx_digest_key_disk disk;
    memcpy(disk.secret, message->digest_key.secret, sizeof(disk.secret));
    return put_body(body, &disk, sizeof(disk));
}

int blx_message_get_digest_key(const uint8_t *body, size_t body_bytes, struct blx_message *message,
                               struct blx_error *err)
{
    static const uint8_t none[BLX_KEY_BYTES];
    (void)body_bytes;
    memcpy(message->digest_key.secret, body, sizeof(message->digest_key.secret));
    if (memcmp(message->digest_key.secret, none, sizeof(none)) == 0)
        return bad(err, "it is no key");
    return 0;
}

size_t blx_message_put_volume(const struct blx_message *message, uint8_t *body)
{
    const struct blx_volume_info *volume = &message->volume;
    struct blx_volume_disk disk = {
        .volume = blx_le32_of(volume->volume),
        .block_shift = blx_le32_of(volume->block_shift),
        .size_bytes = blx_le64_of(volume->size_bytes),
    };
    memcpy(disk.generation, volume->generation.bytes, sizeof(disk.generation));
    blx_field_put_name(disk.name, volume->name);
    blx_text_put(disk.device, sizeof(disk.device), volume->device);
    blx_text_put(disk.identity, sizeof(disk.identity), volume->identity);
    return put_body(body, &disk, sizeof(disk));
}

int blx_message_get_volume(const uint8_t *body, size_t body_bytes, struct blx_message *message,
                           struct blx_error *err)
{
    (void)body_bytes;
    struct blx_volume_disk disk;
    memcpy(&disk, body, sizeof(disk));
    struct blx_volume_info *volume = &message->volume;
    volume->block_shift = blx_le32_get(disk.block_shift);
    volume->size_bytes = blx_le64_get(disk.size_bytes);
    memcpy(volume->generation.bytes, disk.generation, sizeof(disk.generation));
    if (blx_generation_is_none(&volume->generation))
        return bad(err, "the volume has no generation");
    int rc = blx_field_check_size(volume->block_shift, volume->size_bytes, err);
    if (rc == 0)
        rc = blx_field_get_volume(disk.volume, &volume->volume, err);
    if (rc == 0)
        rc = blx_field_get_name(disk.name, volume->name, "volume name", err);
    if (rc == 0)
        rc = blx_field_get_text(disk.device, volume->device, "the device", err);
    if (rc == 0)
        rc = blx_field_get_text(disk.identity, volume->identity, "the disk's identity", err);
    return rc;
}

size_t blx_message_put_volume_state(const struct blx_message *message, uint8_t *body)
{
    const struct blx_volume_state *state = &message->volume_state;
    struct blx_volume_state_disk disk = {
        .volume = blx_le32_of(state->volume),
        .durable_seq = blx_le64_of(state->durable_seq),
        .image_bytes = blx_le64_of(state->image_bytes),
    };
    memcpy(disk.generation, state->generation.bytes, sizeof(disk.generation));
    blx_text_put(disk.reason, sizeof(disk.reason), state->reason);
    return put_body(body, &disk, sizeof(disk));
}

int blx_message_get_volume_state(const uint8_t *body, size_t body_bytes,
                                 struct blx_message *message, struct blx_error *err)
{
    (void)body_bytes;
    struct blx_volume_state_disk disk;
    memcpy(&disk, body, sizeof(disk));
    struct blx_volume_state *state = &message->volume_state;
    memcpy(state->generation.bytes, disk.generation, sizeof(disk.generation));
    state->durable_seq = blx_le64_get(disk.durable_seq);
    state->image_bytes = blx_le64_get(disk.image_bytes);
    if (blx_generation_is_none(&state->generation) && state->durable_seq != 0)
        return bad(err, "frames of no generation cannot be durable");
    if (state->durable_seq > INT64_MAX)
        return bad(err, "so many frames were never sent");
    if (state->image_bytes > INT64_MAX || state->image_bytes % 512 != 0)
        return bad(err, "the image's size is not the size of a disk");
    int rc = blx_field_check_reserved(disk.reserved, err);
    if (rc == 0)
        rc = blx_field_get_volume(disk.volume, &state->volume, err);
    if (rc == 0)
        rc = blx_field_get_text(disk.reason, state->reason, "the reason", err);
    return rc;
}

size_t blx_message_put_begin(const struct blx_message *message, uint8_t *body)
{
    const struct blx_begin *begin = &message->begin;
    struct blx_begin_disk disk = {
        .volume = blx_le32_of(begin->volume),
        .pass = blx_le32_of((uint32_t)begin->pass),
        .full_bytes = blx_le64_of(begin->full_bytes),
    };
    return put_body(body, &disk, sizeof(disk));
}

int blx_message_get_begin(const uint8_t *body, size_t body_bytes, struct blx_message *message,
                          struct blx_error *err)
{
    (void)body_bytes;
    struct blx_begin_disk disk;
    memcpy(&disk, body, sizeof(disk));
    struct blx_begin *begin = &message->begin;
    uint32_t pass = blx_le32_get(disk.pass);
    begin->full_bytes = blx_le64_get(disk.full_bytes);
    if (pass < BLX_PASS_RESUME || pass > BLX_PASS_CONTINUE)
        return bad(err, "the kind of pass is unknown");
    if (pass != BLX_PASS_FULL && begin->full_bytes != 0)
        return bad(err, "a resume, a rescan or a continuation sends no full pass");
    begin->pass = (enum blx_pass)pass;
    return blx_field_get_volume(disk.volume, &begin->volume, err);
}

/* Only the part before the frame. */
size_t blx_message_put_frame(const struct blx_message *message, uint8_t *body)
{
    struct blx_frame_prefix_disk disk = {.volume = blx_le32_of(message->frame.volume)};
    return put_body(body, &disk, sizeof(disk));
}

int blx_message_get_frame(const uint8_t *body, size_t body_bytes, struct blx_message *message,
                          struct blx_error *err)
{
    struct blx_frame_prefix_disk disk;
    memcpy(&disk, body, sizeof(disk));
    message->frame.bytes = body + sizeof(disk);
    message->frame.frame_bytes = body_bytes - sizeof(disk);
    int rc = blx_field_check_reserved(disk.reserved, err);
    return rc < 0 ? rc : blx_field_get_volume(disk.volume, &message->frame.volume, err);
}

size_t blx_message_put_ack(const struct blx_message *message, uint8_t *body)
{
    struct blx_ack_disk disk = {
        .volume = blx_le32_of(message->ack.volume),
        .durable_seq = blx_le64_of(message->ack.durable_seq),
    };
    return put_body(body, &disk, sizeof(disk));
}

int blx_message_get_ack(const uint8_t *body, size_t body_bytes, struct blx_message *message,
                        struct blx_error *err)
{
    (void)body_bytes;
    struct blx_ack_disk disk;
    memcpy(&disk, body, sizeof(disk));
    message->ack.durable_seq = blx_le64_get(disk.durable_seq);
    int rc = blx_field_check_reserved(disk.reserved, err);
    return rc < 0 ? rc : blx_field_get_volume(disk.volume, &message->ack.volume, err);
}

size_t blx_message_put_status(const struct blx_message *message, uint8_t *body)
{
    struct blx_status_disk disk = blx_status_put(&message->status);
    return put_body(body, &disk, sizeof(disk));
}

int blx_message_get_status(const uint8_t *body, size_t body_bytes, struct blx_message *message,
                           struct blx_error *err)
{
    (void)body_bytes;
    struct blx_status_disk disk;
    memcpy(&disk, body, sizeof(disk));
    return blx_status_get(&disk, BLX_AGENT_FULL_SYNC, &message->status, err);
}

size_t blx_message_put_ping(const struct blx_message *message, uint8_t *body)
{
    (void)message;
    (void)body;
    return 0;
}

int blx_message_get_ping(const uint8_t *body, size_t body_bytes, struct blx_message *message,
                         struct blx_error *err)
{
    (void)body;
    (void)body_bytes;
    (void)message;
    (void)err;
    return 0;
}

size_t blx_message_put_error(const struct blx_message *message, uint8_t *body)
{
    struct blx_error_disk disk;
    blx_text_put(disk.text, sizeof(disk.text), message->error.text);
    return put_body(body, &disk, sizeof(disk));
}

int blx_message_get_error(const uint8_t *body, size_t body_bytes, struct blx_message *message,
                          struct blx_error *err)
{
    (void)body_bytes;
    struct blx_error_disk disk;
    memcpy(&disk, body, sizeof(disk));
    return blx_field_get_text(disk.text, message->error.text, "the text", err);
}

size_t blx_message_put_goodbye(const struct blx_message *message, uint8_t *body)
{
    return blx_message_put_ping(message, body);
}

int blx_message_get_goodbye(const uint8_t *body, size_t body_bytes, struct blx_message *message,
                            struct blx_error *err)
{
    return blx_message_get_ping(body, body_bytes, message, err);
}
