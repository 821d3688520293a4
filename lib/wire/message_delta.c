/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies of the messages with which a restore onto what a target holds already begins. */
#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>

#include "wire/message_disk_private.h"

static int bad(struct blx_error *err, const char *reason)
{
    return blx_error_set(err, -EBADMSG, "%s", reason);
}

size_t blx_message_put_delta_request(const struct blx_message *message, uint8_t *body)
{
    const struct blx_delta_request_disk disk = {.volume =
                                                    blx_le32_of(message->delta_request.volume)};
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_delta_request(const uint8_t *body, size_t body_bytes,
                                  struct blx_message *message, struct blx_error *err)
{
    (void)body_bytes;
    struct blx_delta_request_disk disk;
    memcpy(&disk, body, sizeof(disk));
    int rc = blx_field_check_reserved(disk.reserved, err);
    return rc < 0 ? rc : blx_field_get_volume(disk.volume, &message->delta_request.volume, err);
}

size_t blx_message_put_delta_key(const struct blx_message *message, uint8_t *body)
{
    struct blx_delta_key_disk disk = {.volume = blx_le32_of(message->delta_key.volume)};
    memcpy(disk.key_id, message->delta_key.key_id.bytes, sizeof(disk.key_id));
    memcpy(disk.key, message->delta_key.key, sizeof(disk.key));
    memcpy(body, &disk, sizeof(disk));
    OPENSSL_cleanse(&disk, sizeof(disk));
    return sizeof(disk);
}

/* One of the two: a key, or the name of one that the target has. */
int blx_message_get_delta_key(const uint8_t *body, size_t body_bytes, struct blx_message *message,
                              struct blx_error *err)
{
    static const uint8_t none[BLX_DELTA_KEY_BYTES];
    (void)body_bytes;
    struct blx_delta_key_disk disk;
    struct blx_delta_key *told = &message->delta_key;
    memcpy(&disk, body, sizeof(disk));
    memcpy(told->key_id.bytes, disk.key_id, sizeof(disk.key_id));
    memcpy(told->key, disk.key, sizeof(disk.key));
    OPENSSL_cleanse(disk.key, sizeof(disk.key));
    if (blx_key_id_is_none(&told->key_id) == (memcmp(told->key, none, sizeof(none)) == 0))
        return bad(err, "it needs either a key or the ID of one");
    int rc = blx_field_check_reserved(disk.reserved, err);
    return rc < 0 ? rc : blx_field_get_volume(disk.volume, &told->volume, err);
}

size_t blx_message_put_delta_wanted(const struct blx_message *message, uint8_t *body)
{
    const struct blx_delta_wanted *wanted = &message->delta_wanted;
    const struct blx_delta_wanted_disk disk = {
        .volume = blx_le32_of(wanted->volume),
        .count = blx_le32_of(wanted->count),
    };
    uint32_t count = wanted->count < BLX_DELTA_WANTED_OF_A_MESSAGE ? wanted->count
                                                                   : BLX_DELTA_WANTED_OF_A_MESSAGE;
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk) + blx_field_put_extents(body + sizeof(disk), wanted->extents, count);
}

int blx_message_get_delta_wanted(const uint8_t *body, size_t body_bytes,
                                 struct blx_message *message, struct blx_error *err)
{
    struct blx_delta_wanted_disk disk;
    struct blx_delta_wanted *wanted = &message->delta_wanted;
    memcpy(&disk, body, sizeof(disk));
    wanted->count = blx_le32_get(disk.count);
    if (wanted->count == 0 || wanted->count > BLX_DELTA_WANTED_OF_A_MESSAGE)
        return bad(err, "the number of extents is out of range");
    if (body_bytes != sizeof(disk) + wanted->count * sizeof(struct blx_field_extent_disk))
        return bad(err, "its size does not fit the number of extents");
    int rc = blx_field_get_extents(body + sizeof(disk), wanted->extents, wanted->count, err);
    return rc < 0 ? rc : blx_field_get_volume(disk.volume, &wanted->volume, err);
}
