/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/message.h"

#include <errno.h>
#include <string.h>

#include "wire/message_disk_private.h"

struct message_kind {
    const char *name;
    size_t least_bytes;
    size_t most_bytes;
    size_t (*put)(const struct blx_message *message, uint8_t *body);
    int (*get)(const uint8_t *body, size_t body_bytes, struct blx_message *message,
               struct blx_error *err);
};

enum { KIND_COUNT = BLX_MESSAGE_CONTROL_PLACE + 1 };

/* By number. A row without a name is a number that no type uses. */
static const struct message_kind kinds[KIND_COUNT] = {
#define BLX_MESSAGE(NAME, name, number, direction, least, most)                                    \
    [number] = {#NAME, least, most, blx_message_put_##name, blx_message_get_##name},
#include "proto/messages.def"
#undef BLX_MESSAGE
};

#define BLX_MESSAGE(NAME, name, number, direction, least, most)                                    \
    _Static_assert(BLX_MESSAGE_##NAME == (number), #NAME);                                         \
    _Static_assert((most) <= BLX_MESSAGE_MAX_BYTES, #NAME);                                        \
    _Static_assert((number) == 6 || (most) <= BLX_MESSAGE_MAX_BODY_BYTES, #NAME);
#include "proto/messages.def"
#undef BLX_MESSAGE

static const struct message_kind *kind_of(uint32_t type)
{
    return type < KIND_COUNT && kinds[type].name != NULL ? &kinds[type] : NULL;
}

const char *blx_message_name(enum blx_message_type type)
{
    const struct message_kind *kind = kind_of((uint32_t)type);
    return kind == NULL ? "unknown" : kind->name;
}

static void put_header(uint8_t *buffer, enum blx_message_type type, size_t body_bytes)
{
    struct blx_message_header_disk header = {
        .body_bytes = blx_le32_of((uint32_t)body_bytes),
        .type = blx_le16_of((uint16_t)type),
    };
    memcpy(buffer, &header, sizeof(header));
}

static int encode_frame(const struct blx_message *message, uint8_t *buffer, size_t capacity,
                        size_t *length)
{
    const struct message_kind *kind = &kinds[BLX_MESSAGE_FRAME];
    size_t body_bytes = sizeof(struct blx_frame_prefix_disk) + message->frame.frame_bytes;
    if (message->frame.volume >= BLX_MAX_VOLUMES || body_bytes < kind->least_bytes ||
        body_bytes > kind->most_bytes)
        return -EINVAL;
    if (capacity < BLX_FRAME_MESSAGE_PREFIX_BYTES)
        return -EMSGSIZE;
    put_header(buffer, BLX_MESSAGE_FRAME, body_bytes);
    *length = BLX_MESSAGE_HEADER_BYTES + kind->put(message, buffer + BLX_MESSAGE_HEADER_BYTES);
    return 0;
}

int blx_message_encode(const struct blx_message *message, uint8_t *buffer, size_t capacity,
                       size_t *length)
{
    const struct message_kind *kind = kind_of((uint32_t)message->type);
    if (kind == NULL)
        return -EINVAL;
    if (message->type == BLX_MESSAGE_FRAME)
        return encode_frame(message, buffer, capacity, length);
    uint8_t body[BLX_MESSAGE_MAX_BODY_BYTES];
    size_t body_bytes = kind->put(message, body);
    /* What the other side would refuse must not leave this one. */
    struct blx_message check;
    if (blx_message_decode(message->type, body, body_bytes, &check, NULL) < 0)
        return -EINVAL;
    if (capacity < BLX_MESSAGE_HEADER_BYTES + body_bytes)
        return -EMSGSIZE;
    put_header(buffer, message->type, body_bytes);
    memcpy(buffer + BLX_MESSAGE_HEADER_BYTES, body, body_bytes);
    *length = BLX_MESSAGE_HEADER_BYTES + body_bytes;
    return 0;
}

static int check_size(const struct message_kind *kind, size_t body_bytes, struct blx_error *err)
{
    if (body_bytes >= kind->least_bytes && body_bytes <= kind->most_bytes)
        return 0;
    return blx_error_set(err, -EBADMSG, "a %s message cannot have a body of %zu bytes", kind->name,
                         body_bytes);
}

int blx_message_decode_header(const uint8_t header[BLX_MESSAGE_HEADER_BYTES],
                              enum blx_message_type *type, size_t *body_bytes,
                              struct blx_error *err)
{
    struct blx_message_header_disk disk;
    memcpy(&disk, header, sizeof(disk));
    uint16_t number = blx_le16_get(disk.type);
    const struct message_kind *kind = kind_of(number);
    if (kind == NULL)
        return blx_error_set(err, -EBADMSG,
                             "this is not a message of blxrep/1: its type %u is unknown", number);
    if (blx_le16_get(disk.flags) != 0)
        return blx_error_set(err, -EBADMSG, "a %s message has flags that are unknown: 0x%x",
                             kind->name, blx_le16_get(disk.flags));
    int rc = check_size(kind, blx_le32_get(disk.body_bytes), err);
    if (rc < 0)
        return rc;
    *type = (enum blx_message_type)number;
    *body_bytes = blx_le32_get(disk.body_bytes);
    return 0;
}

int blx_message_decode(enum blx_message_type type, const uint8_t *body, size_t body_bytes,
                       struct blx_message *message, struct blx_error *err)
{
    const struct message_kind *kind = kind_of((uint32_t)type);
    if (kind == NULL)
        return blx_error_set(err, -EBADMSG, "message type %d is unknown", (int)type);
    int rc = check_size(kind, body_bytes, err);
    if (rc < 0)
        return rc;
    struct blx_message decoded = {.type = type};
    struct blx_error reason = {0};
    rc = kind->get(body, body_bytes, &decoded, &reason);
    if (rc < 0)
        return blx_error_set(err, -EBADMSG, "a %s message is not valid: %s", kind->name,
                             reason.message);
    *message = decoded;
    return 0;
}

const char *blx_consistency_name(enum blx_consistency consistency)
{
    switch (consistency) {
    case BLX_CONSISTENCY_NONE:
        return "none";
    case BLX_CONSISTENCY_CRASH:
        return "crash";
    case BLX_CONSISTENCY_FILESYSTEM:
        return "filesystem";
    }
    return "unknown";
}

const char *blx_agent_state_name(enum blx_agent_state state)
{
    switch (state) {
    case BLX_AGENT_OFFLINE:
        return "OFFLINE";
    case BLX_AGENT_FULL_SYNC:
        return "FULL SYNC";
    case BLX_AGENT_LIVE:
        return "LIVE";
    case BLX_AGENT_CHECKPOINT:
        return "CHECKPOINT";
    case BLX_AGENT_RESCAN:
        return "RESCAN";
    }
    return "unknown";
}

const char *blx_disk_state_name(enum blx_disk_state state)
{
    switch (state) {
    case BLX_DISK_PROTECTED:
        return "protected";
    case BLX_DISK_REFUSED:
        return "refused";
    case BLX_DISK_EXCLUDED:
        return "excluded";
    }
    return "unknown";
}
