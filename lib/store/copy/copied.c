/* SPDX-License-Identifier: Apache-2.0 */
#include "store/copy/copied.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "base/text.h"
#include "store/checkpoint/manifest_codec_private.h"
#include "store/layout_private.h"

enum {
    COPIED_VERSION_1 = 1, /* without tails */
    COPIED_VERSION = 2,
    OBJECT_LEAST_BYTES =
        sizeof(struct blx_segment_header_disk) + sizeof(struct blx_segment_footer_disk),
};

#define OBJECT_MOST_BYTES (UINT64_C(1) << 40)

void blx_copied_done(struct blx_copied *copied)
{
    blx_manifest_done(&copied->manifest);
    free(copied->objects);
    *copied = (struct blx_copied){0};
}

struct blx_copied_object *blx_copied_of(const struct blx_copied *copied,
                                        const struct blx_manifest_volume *entry)
{
    size_t at = 0;
    for (const struct blx_manifest_volume *i = copied->manifest.volumes; i < entry; i++)
        at += i->segment_count;
    return copied->objects + at;
}

/* Why it is not sound; NULL if it is. The manifest is. */
static const char *fault_of(const struct blx_copied *copied)
{
    const struct blx_manifest *manifest = &copied->manifest;
    size_t segments = 0;
    for (uint32_t i = 0; i < blx_manifest_count_entries(manifest); i++) {
        if (!manifest->volumes[i].base)
            return "a volume needs other checkpoints";
        segments += manifest->volumes[i].segment_count;
    }
    if (manifest->parent != 0)
        return "it has a parent";
    if (segments != copied->object_count)
        return "its objects are not those of its segments";
    for (size_t i = 0; i < copied->object_count; i++) {
        if (copied->objects[i].bytes < OBJECT_LEAST_BYTES ||
            copied->objects[i].bytes > OBJECT_MOST_BYTES)
            return "an object's size is out of range";
        if (copied->objects[i].tail_bytes > copied->objects[i].bytes)
            return "an object's tail is longer than the object";
    }
    return NULL;
}

static void encode_objects(const struct blx_copied *copied, uint8_t *at)
{
    for (size_t i = 0; i < copied->object_count; i++) {
        const struct blx_copied_object *object = &copied->objects[i];
        struct blx_copied_object_disk disk = {.bytes = blx_le64_of(object->bytes),
                                              .locked_until_s =
                                                  blx_le64_of((uint64_t)object->locked_until_s)};
        memcpy(disk.hash, object->hash, sizeof(disk.hash));
        memcpy(at + i * sizeof(disk), &disk, sizeof(disk));
    }
}

static void encode_tails(const struct blx_copied *copied, uint8_t *at)
{
    for (size_t i = 0; i < copied->object_count; i++) {
        struct blx_copied_tail_disk disk = {.bytes = blx_le64_of(copied->objects[i].tail_bytes)};
        memcpy(disk.hash, copied->objects[i].tail_hash, sizeof(disk.hash));
        memcpy(at + i * sizeof(disk), &disk, sizeof(disk));
    }
}

int blx_copied_encode(const struct blx_copied *copied, void **content, size_t *bytes,
                      struct blx_error *err)
{
    BLX_CLEANUP_FREE void *manifest = NULL;
    size_t manifest_bytes = 0;
    const char *fault = fault_of(copied);
    if (fault != NULL)
        return blx_error_set(err, -EINVAL, "cannot copy the checkpoint: %s", fault);
    int rc = blx_manifest_encode(&copied->manifest, &manifest, &manifest_bytes, err);
    if (rc < 0)
        return rc;
    struct blx_copied_disk disk = {
        .magic = blx_le32_of(BLX_COPIED_MAGIC),
        .version = COPIED_VERSION,
        .lock = (uint8_t)copied->lock,
        .manifest_bytes = blx_le32_of((uint32_t)manifest_bytes),
        .object_count = blx_le32_of((uint32_t)copied->object_count),
        .copied_realtime_ns = blx_le64_of(copied->copied_realtime_ns),
    };
    size_t objects_bytes = copied->object_count * sizeof(struct blx_copied_object_disk);
    size_t total = sizeof(disk) + manifest_bytes + objects_bytes +
                   copied->object_count * sizeof(struct blx_copied_tail_disk);
    if (total > BLX_COPIED_MAX_BYTES)
        return blx_error_set(err, -EFBIG,
                             "cannot copy the checkpoint: it would take %zu bytes to name all its "
                             "segments, and %d is the most that can be read again",
                             total, BLX_COPIED_MAX_BYTES);
    uint8_t *made = malloc(total);
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot copy the checkpoint");
    memcpy(made, &disk, sizeof(disk));
    memcpy(made + sizeof(disk), manifest, manifest_bytes);
    encode_objects(copied, made + sizeof(disk) + manifest_bytes);
    encode_tails(copied, made + sizeof(disk) + manifest_bytes + objects_bytes);
    size_t field = offsetof(struct blx_copied_disk, checksum);
    blx_le64 checksum = blx_le64_of(blx_layout_checksum(made, total, field));
    memcpy(made + field, &checksum, sizeof(checksum));
    *content = made;
    *bytes = total;
    return 0;
}

static int decode_objects(const uint8_t *at, size_t count, struct blx_copied *copied)
{
    copied->objects = calloc(count + 1, sizeof(copied->objects[0]));
    if (copied->objects == NULL)
        return -ENOMEM;
    copied->object_count = count;
    for (size_t i = 0; i < count; i++) {
        struct blx_copied_object_disk disk;
        memcpy(&disk, at + i * sizeof(disk), sizeof(disk));
        memcpy(copied->objects[i].hash, disk.hash, sizeof(disk.hash));
        copied->objects[i].bytes = blx_le64_get(disk.bytes);
        copied->objects[i].locked_until_s = (int64_t)blx_le64_get(disk.locked_until_s);
    }
    return 0;
}

static void decode_tails(const uint8_t *at, struct blx_copied *copied)
{
    for (size_t i = 0; i < copied->object_count; i++) {
        struct blx_copied_tail_disk disk;
        memcpy(&disk, at + i * sizeof(disk), sizeof(disk));
        memcpy(copied->objects[i].tail_hash, disk.hash, sizeof(disk.hash));
        copied->objects[i].tail_bytes = blx_le64_get(disk.bytes);
    }
}

static int decode(uint8_t *content, size_t bytes, const struct blx_copied_disk *disk,
                  struct blx_copied *copied, struct blx_error *err)
{
    size_t manifest_bytes = blx_le32_get(disk->manifest_bytes);
    size_t count = blx_le32_get(disk->object_count);
    size_t rest = bytes - sizeof(*disk);
    size_t each = sizeof(struct blx_copied_object_disk);
    if (disk->version > COPIED_VERSION_1)
        each += sizeof(struct blx_copied_tail_disk);
    if (manifest_bytes > rest || (rest - manifest_bytes) != count * each)
        return blx_error_set(err, -EBADMSG, "its parts do not fit it");
    copied->copied_realtime_ns = blx_le64_get(disk->copied_realtime_ns);
    if (disk->lock < BLX_COPIED_LOCKS)
        copied->lock = (enum blx_copied_lock)disk->lock;
    int rc = blx_manifest_decode(content + sizeof(*disk), manifest_bytes, &copied->manifest, err);
    if (rc == 0 && decode_objects(content + sizeof(*disk) + manifest_bytes, count, copied) < 0)
        return blx_error_errno(err, -ENOMEM, "cannot read the checkpoint");
    if (rc == 0 && disk->version > COPIED_VERSION_1)
        decode_tails(content + sizeof(*disk) + manifest_bytes +
                         count * sizeof(struct blx_copied_object_disk),
                     copied);
    const char *fault = rc == 0 ? fault_of(copied) : NULL;
    return fault != NULL ? blx_error_set(err, -EBADMSG, "%s", fault) : rc;
}

int blx_copied_decode(void *content, size_t bytes, struct blx_copied *copied, struct blx_error *err)
{
    struct blx_copied_disk disk;
    if (bytes < sizeof(disk) || bytes > BLX_COPIED_MAX_BYTES)
        return blx_error_set(err, -EBADMSG, "its size is out of range");
    memcpy(&disk, content, sizeof(disk));
    if (blx_le32_get(disk.magic) != BLX_COPIED_MAGIC)
        return blx_error_set(err, -EBADMSG, "it does not begin as a copied checkpoint does");
    size_t field = offsetof(struct blx_copied_disk, checksum);
    if (blx_layout_checksum(content, bytes, field) != blx_le64_get(disk.checksum))
        return blx_error_set(err, -EBADMSG, "its checksum is wrong");
    if (disk.version < COPIED_VERSION_1 || disk.version > COPIED_VERSION)
        return blx_error_set(err, -ENOTSUP,
                             "it has version %u, this program knows %d; use a newer blxrep",
                             disk.version, COPIED_VERSION);
    struct blx_copied made = {0};
    int rc = decode(content, bytes, &disk, &made, err);
    if (rc < 0)
        blx_copied_done(&made);
    else
        *copied = made;
    return rc;
}

void blx_copied_hash_text(const uint8_t hash[BLX_COPIED_HASH_BYTES],
                          char text[BLX_COPIED_HASH_TEXT])
{
    blx_hex_format(hash, BLX_COPIED_HASH_BYTES, text);
}

void blx_copied_segment_key(char key[BLX_COPIED_KEY_BYTES], const char *agent_id,
                            const char *volume, uint32_t number,
                            const struct blx_copied_object *object)
{
    char hash[BLX_COPIED_HASH_TEXT];
    blx_copied_hash_text(object->hash, hash);
    snprintf(key, BLX_COPIED_KEY_BYTES, "agents/%.64s/volumes/%.64s/%08u-%s.seg", agent_id, volume,
             number, hash);
}

void blx_copied_checkpoint_key(char key[BLX_COPIED_KEY_BYTES], const char *agent_id,
                               blx_timestamp timestamp, const uint8_t hash[BLX_COPIED_HASH_BYTES])
{
    char text[BLX_COPIED_HASH_TEXT], when[BLX_TIMESTAMP_TEXT_BYTES];
    blx_copied_hash_text(hash, text);
    blx_timestamp_format(timestamp, when);
    snprintf(key, BLX_COPIED_KEY_BYTES, "agents/%.64s/checkpoints/%s-%s", agent_id, when, text);
}

/* The value of a digit in lower case; -1: it is none. */
static int digit_of(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int parse_hash(const char *text, uint8_t hash[BLX_COPIED_HASH_BYTES])
{
    for (size_t i = 0; i < BLX_COPIED_HASH_BYTES; i++) {
        int high = digit_of(text[2 * i]), low = high < 0 ? -1 : digit_of(text[2 * i + 1]);
        if (low < 0)
            return -EINVAL;
        hash[i] = (uint8_t)(high << 4 | low);
    }
    return 0;
}

int blx_copied_parse_segment(const char *name, uint8_t hash[BLX_COPIED_HASH_BYTES])
{
    size_t digits = strspn(name, "0123456789");
    if (digits < 8 || digits > 10 || name[digits] != '-' || parse_hash(name + digits + 1, hash) < 0)
        return -EINVAL;
    return strcmp(name + digits + BLX_COPIED_HASH_TEXT, ".seg") == 0 ? 0 : -EINVAL;
}

int blx_copied_parse_name(const char *name, blx_timestamp *timestamp,
                          uint8_t hash[BLX_COPIED_HASH_BYTES])
{
    enum { DIGITS = BLX_TIMESTAMP_TEXT_BYTES - 1 };
    char when[BLX_TIMESTAMP_TEXT_BYTES];
    if (strlen(name) != DIGITS + BLX_COPIED_HASH_TEXT || name[DIGITS] != '-')
        return -EINVAL;
    snprintf(when, sizeof(when), "%s", name);
    if (parse_hash(name + DIGITS + 1, hash) < 0)
        return -EINVAL;
    return blx_timestamp_parse(when, timestamp, NULL) < 0 ? -EINVAL : 0;
}
