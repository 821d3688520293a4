/* SPDX-License-Identifier: Apache-2.0 */
#include "store/checkpoint/manifest_codec_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "store/layout_private.h"

_Static_assert(sizeof(((struct blx_manifest_volume *)NULL)->device) == BLX_TEXT_BYTES, "device");

static const char *unreadable_fault(const struct blx_manifest_volume *volume)
{
    uint64_t blocks = blx_blocks_of_bytes(volume->size_bytes, volume->block_shift);
    uint64_t end = 0;
    if (volume->unreadable_count > BLX_UNREADABLE_MAX_EXTENTS)
        return "a volume's number of unreadable extents is out of range";
    for (uint32_t i = 0; i < volume->unreadable_count; i++) {
        const struct blx_extent *extent = &volume->unreadable[i];
        if (extent->block_count == 0 || extent->start_block < end ||
            extent->start_block >= blocks || extent->block_count > blocks - extent->start_block)
            return "a volume's unreadable extents are not in order";
        end = extent->start_block + extent->block_count;
    }
    return NULL;
}

static const char *volume_fault(const struct blx_manifest_volume *volume)
{
    if (blx_name_check("volume name", volume->name, NULL) < 0)
        return "a volume's name is not valid";
    if (volume->block_shift < BLX_BLOCK_SHIFT_MIN || volume->block_shift > BLX_BLOCK_SHIFT_MAX)
        return "a volume's block size is out of range";
    if (volume->size_bytes == 0 || volume->size_bytes > INT64_MAX ||
        volume->size_bytes >> volume->block_shift > BLX_VOLUME_MAX_BLOCKS)
        return "a volume's size is out of range";
    if (!blx_layout_text_ok(volume->device, sizeof(volume->device)) ||
        !blx_layout_text_ok(volume->identity, sizeof(volume->identity)))
        return "a volume's text is not printable";
    uint32_t above = 0;
    for (uint32_t i = 0; i < volume->segment_count; i++) {
        if (volume->segments[i] <= above || volume->segments[i] >= volume->next_segment)
            return "a volume's segments are not in order";
        above = volume->segments[i];
    }
    return unreadable_fault(volume);
}

/* Why it is not sound; NULL if it is. */
static const char *fault_of(const struct blx_manifest *manifest)
{
    char text[BLX_TIMESTAMP_TEXT_BYTES];
    blx_timestamp parsed;
    if (manifest->timestamp > BLX_TIMESTAMP_MAX)
        return "its timestamp is out of range";
    blx_timestamp_format(manifest->timestamp, text);
    if (blx_timestamp_parse(text, &parsed, NULL) < 0)
        return "its timestamp is no date";
    if (manifest->parent >= manifest->timestamp)
        return "its parent is not older";
    if (manifest->consistency > BLX_CONSISTENCY_FILESYSTEM)
        return "its consistency is unknown";
    if (!blx_layout_text_ok(manifest->note, sizeof(manifest->note)))
        return "its note is not printable";
    if (!blx_cut_flags_are_valid(manifest->cut_flags))
        return "its flags are unknown";
    if (manifest->volume_count == 0 || manifest->volume_count > BLX_MAX_VOLUMES ||
        manifest->carried_count > BLX_MAX_VOLUMES - manifest->volume_count)
        return "its number of volumes is out of range";
    for (uint32_t i = 0; i < blx_manifest_count_entries(manifest); i++) {
        const char *fault = volume_fault(&manifest->volumes[i]);
        if (fault != NULL)
            return fault;
        if (blx_manifest_find(manifest, manifest->volumes[i].name) != &manifest->volumes[i])
            return "two volumes have one name";
    }
    return NULL;
}

static size_t encoded_bytes(const struct blx_manifest *manifest)
{
    size_t bytes = sizeof(struct blx_manifest_disk);
    for (uint32_t i = 0; i < blx_manifest_count_entries(manifest); i++)
        bytes += sizeof(struct blx_manifest_volume_disk) +
                 manifest->volumes[i].segment_count * sizeof(blx_le32) +
                 manifest->volumes[i].unreadable_count * sizeof(struct blx_manifest_extent_disk) +
                 (blx_key_id_is_none(&manifest->volumes[i].key_id) ? 0 : BLX_KEY_ID_BYTES);
    return bytes;
}

static uint8_t *encode_volume(const struct blx_manifest_volume *volume, uint8_t *at)
{
    bool is_encrypted = !blx_key_id_is_none(&volume->key_id);
    struct blx_manifest_volume_disk disk = {
        .size_bytes = blx_le64_of(volume->size_bytes),
        .last_seq = blx_le64_of(volume->last_seq),
        .changed_bytes = blx_le64_of(volume->changed_bytes),
        .stored_bytes = blx_le64_of(volume->stored_bytes),
        .block_shift = (uint8_t)volume->block_shift,
        .flags = (uint8_t)((volume->base ? BLX_VOLUME_BASE : 0) |
                           (volume->clearing ? BLX_VOLUME_CLEARING : 0) |
                           (is_encrypted ? BLX_VOLUME_ENCRYPTED : 0)),
        .next_segment = blx_le32_of(volume->next_segment),
        .segment_count = blx_le32_of(volume->segment_count),
        .unreadable_count = blx_le32_of(volume->unreadable_count),
    };
    memcpy(disk.name, volume->name, strlen(volume->name));
    memcpy(disk.device, volume->device, strlen(volume->device));
    memcpy(disk.identity, volume->identity, strlen(volume->identity));
    memcpy(disk.generation, volume->generation.bytes, sizeof(disk.generation));
    memcpy(at, &disk, sizeof(disk));
    at += sizeof(disk);
    for (uint32_t i = 0; i < volume->segment_count; i++) {
        blx_le32 number = blx_le32_of(volume->segments[i]);
        memcpy(at, &number, sizeof(number));
        at += sizeof(number);
    }
    for (uint32_t i = 0; i < volume->unreadable_count; i++) {
        struct blx_manifest_extent_disk extent = {
            .start_block = blx_le64_of(volume->unreadable[i].start_block),
            .block_count = blx_le64_of(volume->unreadable[i].block_count),
        };
        memcpy(at, &extent, sizeof(extent));
        at += sizeof(extent);
    }
    if (!is_encrypted)
        return at;
    memcpy(at, volume->key_id.bytes, sizeof(volume->key_id.bytes));
    return at + sizeof(volume->key_id.bytes);
}

int blx_manifest_encode(const struct blx_manifest *manifest, void **content, size_t *bytes,
                        struct blx_error *err)
{
    const char *fault = fault_of(manifest);
    if (fault != NULL)
        return blx_error_set(err, -EINVAL, "cannot write the checkpoint: %s", fault);
    size_t total = encoded_bytes(manifest);
    if (total > BLX_MANIFEST_MAX_BYTES)
        return blx_error_set(err, -EFBIG,
                             "cannot write the checkpoint: it would take %zu bytes to name all its "
                             "segments, and %d is the most that can be read again",
                             total, BLX_MANIFEST_MAX_BYTES);
    uint8_t *buffer = malloc(total);
    if (buffer == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot write the checkpoint");
    struct blx_manifest_disk disk = {
        .magic = blx_le32_of(BLX_MANIFEST_MAGIC),
        /* One without carried volumes is as it always was, so that older programs read it. */
        .version = manifest->carried_count > 0 ? BLX_MANIFEST_VERSION : BLX_LAYOUT_VERSION,
        .consistency = (uint8_t)manifest->consistency,
        .cut_flags = blx_le16_of((uint16_t)manifest->cut_flags),
        .timestamp = blx_le64_of(manifest->timestamp),
        .parent = blx_le64_of(manifest->parent),
        .agent_realtime_ns = blx_le64_of(manifest->agent_realtime_ns),
        .committed_realtime_ns = blx_le64_of(manifest->committed_realtime_ns),
        .freeze_ns = blx_le64_of(manifest->freeze_ns),
        .volume_count = blx_le32_of(manifest->volume_count),
        .carried_count = blx_le32_of(manifest->carried_count),
    };
    memcpy(disk.note, manifest->note, strlen(manifest->note));
    memcpy(buffer, &disk, sizeof(disk));
    uint8_t *at = buffer + sizeof(disk);
    for (uint32_t i = 0; i < blx_manifest_count_entries(manifest); i++)
        at = encode_volume(&manifest->volumes[i], at);
    size_t field = offsetof(struct blx_manifest_disk, checksum);
    blx_le64 checksum = blx_le64_of(blx_layout_checksum(buffer, total, field));
    memcpy(buffer + field, &checksum, sizeof(checksum));
    *content = buffer;
    *bytes = total;
    return 0;
}

/* 0, -EBADMSG if the bytes end too early, -ENOMEM. */
static int decode_unreadable(const uint8_t **at, const uint8_t *end, uint32_t count,
                             struct blx_manifest_volume *volume)
{
    struct blx_manifest_extent_disk extent;
    if (count == 0)
        return 0;
    if ((size_t)(end - *at) / sizeof(extent) < count)
        return -EBADMSG;
    volume->unreadable = calloc(count, sizeof(volume->unreadable[0]));
    if (volume->unreadable == NULL)
        return -ENOMEM;
    volume->unreadable_count = count;
    for (uint32_t i = 0; i < count; i++, *at += sizeof(extent)) {
        memcpy(&extent, *at, sizeof(extent));
        volume->unreadable[i].start_block = blx_le64_get(extent.start_block);
        volume->unreadable[i].block_count = blx_le64_get(extent.block_count);
    }
    return 0;
}

/* 0, -EBADMSG if it ends too early or is none. */
static int decode_key_id(const uint8_t **at, const uint8_t *end, struct blx_key_id *key_id)
{
    if ((size_t)(end - *at) < sizeof(key_id->bytes))
        return -EBADMSG;
    memcpy(key_id->bytes, *at, sizeof(key_id->bytes));
    *at += sizeof(key_id->bytes);
    return blx_key_id_is_none(key_id) ? -EBADMSG : 0;
}

/* 0, -EBADMSG if the bytes end too early, -ENOMEM. */
static int decode_volume(const uint8_t **at, const uint8_t *end, struct blx_manifest_volume *volume)
{
    struct blx_manifest_volume_disk disk;
    if ((size_t)(end - *at) < sizeof(disk))
        return -EBADMSG;
    memcpy(&disk, *at, sizeof(disk));
    *at += sizeof(disk);
    uint32_t count = blx_le32_get(disk.segment_count);
    if (memchr(disk.name, '\0', BLX_NAME_BYTES) == NULL ||
        (size_t)(end - *at) / sizeof(blx_le32) < count)
        return -EBADMSG;
    memcpy(volume->name, disk.name, sizeof(volume->name));
    memcpy(volume->device, disk.device, sizeof(volume->device));
    memcpy(volume->identity, disk.identity, sizeof(volume->identity));
    memcpy(volume->generation.bytes, disk.generation, sizeof(disk.generation));
    volume->size_bytes = blx_le64_get(disk.size_bytes);
    volume->block_shift = disk.block_shift;
    volume->last_seq = blx_le64_get(disk.last_seq);
    volume->base = (disk.flags & BLX_VOLUME_BASE) != 0;
    volume->clearing = (disk.flags & BLX_VOLUME_CLEARING) != 0;
    volume->changed_bytes = blx_le64_get(disk.changed_bytes);
    volume->stored_bytes = blx_le64_get(disk.stored_bytes);
    volume->next_segment = blx_le32_get(disk.next_segment);
    volume->segments = calloc(count + 1UL, sizeof(volume->segments[0]));
    if (volume->segments == NULL)
        return -ENOMEM;
    volume->segment_count = count;
    for (uint32_t i = 0; i < count; i++, *at += sizeof(blx_le32)) {
        blx_le32 number;
        memcpy(&number, *at, sizeof(number));
        volume->segments[i] = blx_le32_get(number);
    }
    int rc = decode_unreadable(at, end, blx_le32_get(disk.unreadable_count), volume);
    if (rc == 0 && (disk.flags & BLX_VOLUME_ENCRYPTED) != 0)
        rc = decode_key_id(at, end, &volume->key_id);
    return rc;
}

static int decode_volumes(const uint8_t *at, const uint8_t *end, uint32_t count, uint32_t carried,
                          struct blx_manifest *manifest)
{
    if (count == 0 || count > BLX_MAX_VOLUMES || carried > BLX_MAX_VOLUMES - count)
        return -EBADMSG;
    manifest->volumes = calloc(count + carried, sizeof(manifest->volumes[0]));
    if (manifest->volumes == NULL)
        return -ENOMEM;
    manifest->volume_count = count;
    manifest->carried_count = carried;
    for (uint32_t i = 0; i < count + carried; i++) {
        int rc = decode_volume(&at, end, &manifest->volumes[i]);
        if (rc < 0)
            return rc;
    }
    return at == end ? 0 : -EBADMSG;
}

/* For people: what an agent, or whoever wrote the file, has put there commands no terminal. */
static void clean_texts(struct blx_manifest *manifest)
{
    blx_text_clean(manifest->note);
    for (uint32_t i = 0; i < manifest->volume_count; i++) {
        blx_text_clean(manifest->volumes[i].device);
        blx_text_clean(manifest->volumes[i].identity);
    }
}

/* A newer program's flags say more than this one can. */
static uint32_t known_flags(blx_le16 field)
{
    uint32_t flags = blx_le16_get(field) & BLX_CUT_FLAGS_ALL;
    return blx_cut_flags_are_valid(flags) ? flags : 0;
}

static int decode(const struct blx_manifest_disk *disk, const uint8_t *content, size_t bytes,
                  struct blx_manifest *manifest, struct blx_error *err)
{
    *manifest = (struct blx_manifest){
        .timestamp = blx_le64_get(disk->timestamp),
        .parent = blx_le64_get(disk->parent),
        .agent_realtime_ns = blx_le64_get(disk->agent_realtime_ns),
        .committed_realtime_ns = blx_le64_get(disk->committed_realtime_ns),
        .consistency = disk->consistency,
        .freeze_ns = blx_le64_get(disk->freeze_ns),
        .cut_flags = known_flags(disk->cut_flags),
    };
    memcpy(manifest->note, disk->note, sizeof(manifest->note));
    int rc = decode_volumes(
        content + sizeof(*disk), content + bytes, blx_le32_get(disk->volume_count),
        disk->version == BLX_LAYOUT_VERSION ? 0 : blx_le32_get(disk->carried_count), manifest);
    if (rc == -ENOMEM)
        return blx_error_errno(err, rc, "cannot read the checkpoint");
    const char *fault = rc < 0 ? "its volumes do not fit the file" : fault_of(manifest);
    if (fault != NULL)
        return blx_error_set(err, -EBADMSG, "%s", fault);
    clean_texts(manifest);
    return 0;
}

int blx_manifest_decode(void *content, size_t bytes, struct blx_manifest *manifest,
                        struct blx_error *err)
{
    struct blx_manifest_disk disk;
    if (bytes < sizeof(disk))
        return blx_error_set(err, -EBADMSG, "it is too short");
    memcpy(&disk, content, sizeof(disk));
    if (blx_le32_get(disk.magic) != BLX_MANIFEST_MAGIC)
        return blx_error_set(err, -EBADMSG, "it does not begin as a checkpoint does");
    size_t field = offsetof(struct blx_manifest_disk, checksum);
    if (blx_layout_checksum(content, bytes, field) != blx_le64_get(disk.checksum))
        return blx_error_set(err, -EBADMSG, "its checksum is wrong");
    if (disk.version != BLX_LAYOUT_VERSION && disk.version != BLX_MANIFEST_VERSION)
        return blx_error_set(err, -ENOTSUP,
                             "it has version %u, this program knows %d; use a newer blxrep",
                             disk.version, BLX_MANIFEST_VERSION);
    struct blx_manifest decoded;
    int rc = decode(&disk, content, bytes, &decoded, err);
    if (rc < 0)
        blx_manifest_done(&decoded);
    else
        *manifest = decoded;
    return rc;
}
