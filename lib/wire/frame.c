/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/frame.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <xxhash.h>

#include "wire/codec_private.h"
#include "wire/frame_encryption_private.h"

enum {
    HEADER_BYTES = sizeof(struct blx_frame_header_disk),
    EXTENT_BYTES = sizeof(struct blx_extent_disk),
    CHECKSUM_OFFSET = offsetof(struct blx_frame_header_disk, checksum),
};

static int bad(struct blx_error *err, const char *reason)
{
    return blx_error_set(err, -EBADMSG, "not a valid frame: %s", reason);
}

/* Compares the checksum, which was made while its own field was zero, without writing to the bytes.
 */
static int check_checksum(const uint8_t *bytes, size_t frame_bytes, uint64_t expected,
                          struct blx_error *err)
{
    static const uint8_t zeros[sizeof(blx_le64)];
    XXH3_state_t *state = XXH3_createState();
    if (state == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot check a frame");
    XXH3_64bits_reset(state);
    XXH3_64bits_update(state, bytes, CHECKSUM_OFFSET);
    XXH3_64bits_update(state, zeros, sizeof(zeros));
    XXH3_64bits_update(state, bytes + HEADER_BYTES, frame_bytes - HEADER_BYTES);
    uint64_t found = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return found == expected ? 0 : bad(err, "its checksum is wrong");
}

static int check_kind(const struct blx_frame_header_disk *header, struct blx_error *err)
{
    if (blx_le32_get(header->magic) != BLX_FRAME_MAGIC)
        return bad(err, "the magic number is missing");
    if (header->version != BLX_FRAME_VERSION)
        return blx_error_set(err, -EBADMSG,
                             "not a valid frame: version %u, while this program knows version %d",
                             header->version, BLX_FRAME_VERSION);
    if (header->codec > BLX_CODEC_ZSTD)
        return bad(err, "unknown codec");
    if (header->block_shift < BLX_BLOCK_SHIFT_MIN || header->block_shift > BLX_BLOCK_SHIFT_MAX)
        return bad(err, "the block size is out of range");
    if ((header->flags & ~BLX_FRAME_ENCRYPTED) != 0 || blx_le64_get(header->reserved) != 0)
        return bad(err, "a reserved field is not zero");
    if (blx_le64_get(header->seq) == 0)
        return bad(err, "it has no number");
    static const uint8_t none[BLX_GENERATION_BYTES];
    if (memcmp(header->generation, none, sizeof(none)) == 0)
        return bad(err, "it belongs to no generation");
    return 0;
}

static int check_sizes(const struct blx_frame_header_disk *header, struct blx_error *err)
{
    uint32_t extent_count = blx_le32_get(header->extent_count);
    uint32_t data_bytes = blx_le32_get(header->data_bytes);
    uint32_t payload_bytes = blx_le32_get(header->payload_bytes);
    if (extent_count == 0 || extent_count > BLX_FRAME_MAX_EXTENTS)
        return bad(err, "the number of extents is out of range");
    if (data_bytes > BLX_FRAME_MAX_DATA_BYTES)
        return bad(err, "it has too much data");
    if (header->codec == BLX_CODEC_NONE ? payload_bytes != data_bytes
                                        : payload_bytes == 0 || payload_bytes >= data_bytes)
        return bad(err, "the payload's size does not fit its data");
    uint64_t whole = HEADER_BYTES + (uint64_t)extent_count * EXTENT_BYTES + payload_bytes;
    if ((header->flags & BLX_FRAME_ENCRYPTED) != 0)
        whole += blx_frame_encryption_bytes(data_bytes, header->block_shift);
    if (blx_le32_get(header->frame_bytes) != whole)
        return bad(err, "its parts do not add up to its size");
    return 0;
}

static int read_header(const void *bytes, struct blx_frame_header_disk *header,
                       struct blx_error *err)
{
    memcpy(header, bytes, sizeof(*header));
    int rc = check_kind(header, err);
    return rc < 0 ? rc : check_sizes(header, err);
}

int blx_frame_peek(const void *bytes, size_t *frame_bytes, struct blx_error *err)
{
    struct blx_frame_header_disk header;
    int rc = read_header(bytes, &header, err);
    if (rc < 0)
        return rc;
    *frame_bytes = blx_le32_get(header.frame_bytes);
    return 0;
}

/* The first block that no file offset can reach: keeps block << shift inside an off_t. */
static uint64_t block_limit(unsigned block_shift)
{
    return (uint64_t)INT64_MAX >> block_shift;
}

static int check_extents(const uint8_t *bytes, const struct blx_frame *frame, struct blx_error *err)
{
    uint64_t end = 0;
    uint64_t data_blocks = 0;
    for (uint32_t i = 0; i < frame->extent_count; i++) {
        struct blx_extent_disk disk;
        memcpy(&disk, bytes + HEADER_BYTES + (size_t)i * EXTENT_BYTES, sizeof(disk));
        uint64_t start = blx_le64_get(disk.start_block);
        uint32_t count = blx_le32_get(disk.block_count);
        uint32_t flags = blx_le32_get(disk.flags);
        if (flags != 0 && flags != BLX_EXTENT_ZERO)
            return bad(err, "an extent has unknown flags");
        if (count == 0)
            return bad(err, "an extent is empty");
        if (start > block_limit(frame->block_shift) ||
            count > block_limit(frame->block_shift) - start)
            return bad(err, "an extent lies beyond every device");
        if (start < end)
            return bad(err, "its extents are not ascending and disjoint");
        end = start + count;
        if (flags == 0)
            data_blocks += count;
    }
    if (data_blocks << frame->block_shift != frame->data_bytes)
        return bad(err, "its extents do not add up to its data");
    return 0;
}

int blx_frame_parse(const void *bytes, size_t length, struct blx_frame *frame,
                    struct blx_error *err)
{
    if (length < HEADER_BYTES)
        return bad(err, "it is shorter than a header");
    struct blx_frame_header_disk header;
    int rc = read_header(bytes, &header, err);
    if (rc < 0)
        return rc;
    if (blx_le32_get(header.frame_bytes) != length)
        return bad(err, "its size differs from the bytes given");
    rc = check_checksum(bytes, length, blx_le64_get(header.checksum), err);
    if (rc < 0)
        return rc;
    struct blx_frame parsed = {
        .bytes = bytes,
        .frame_bytes = length,
        .codec = header.codec,
        .block_shift = header.block_shift,
        .seq = blx_le64_get(header.seq),
        .extent_count = blx_le32_get(header.extent_count),
        .data_bytes = blx_le32_get(header.data_bytes),
        .payload_bytes = blx_le32_get(header.payload_bytes),
    };
    memcpy(parsed.generation.bytes, header.generation, BLX_GENERATION_BYTES);
    parsed.payload = parsed.bytes + (length - parsed.payload_bytes);
    rc = check_extents(bytes, &parsed, err);
    if (rc == 0 && (header.flags & BLX_FRAME_ENCRYPTED) != 0)
        rc = blx_frame_encryption_parse(&parsed, err);
    if (rc < 0)
        return rc;
    *frame = parsed;
    return 0;
}

struct blx_frame_extent blx_frame_extent_at(const struct blx_frame *frame, uint32_t index)
{
    struct blx_extent_disk disk;
    memcpy(&disk, frame->bytes + HEADER_BYTES + (size_t)index * EXTENT_BYTES, sizeof(disk));
    return (struct blx_frame_extent){
        .extent = {blx_le64_get(disk.start_block), blx_le32_get(disk.block_count)},
        .zero = blx_le32_get(disk.flags) == BLX_EXTENT_ZERO,
    };
}

int blx_frame_check_bounds(const struct blx_frame *frame, uint64_t volume_blocks,
                           struct blx_error *err)
{
    /* The extents ascend, and their ends do not overflow: both were checked by blx_frame_parse().
     */
    struct blx_extent last = blx_frame_extent_at(frame, frame->extent_count - 1).extent;
    uint64_t end = last.start_block + last.block_count;
    if (end > volume_blocks)
        return blx_error_set(err, -EBADMSG,
                             "frame %" PRIu64 " reaches up to block %" PRIu64
                             ", but its volume has %" PRIu64 " blocks",
                             frame->seq, end, volume_blocks);
    return 0;
}

int blx_frame_unpack(const struct blx_frame *frame, void *data, struct blx_error *err)
{
    if (frame->is_ciphertext)
        return blx_error_set(err, -EBADMSG, "the data of frame %" PRIu64 " are encrypted",
                             frame->seq);
    int rc = blx_codec_unpack(frame->codec, frame->payload, frame->payload_bytes, data,
                              frame->data_bytes);
    if (rc == -EBADMSG)
        return blx_error_set(err, rc, "the data of frame %" PRIu64 " does not unpack (%s)",
                             frame->seq, blx_codec_name(frame->codec));
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot unpack frame %" PRIu64, frame->seq);
    return 0;
}

size_t blx_frame_bound(const struct blx_frame_content *content)
{
    size_t bytes =
        HEADER_BYTES + (size_t)content->extent_count * EXTENT_BYTES + content->data_bytes;
    if (content->key != NULL)
        bytes += blx_frame_encryption_bytes(content->data_bytes, content->block_shift);
    return bytes;
}

static int check_content(const struct blx_frame_content *content, struct blx_error *err)
{
    if (content->codec > BLX_CODEC_ZSTD)
        return blx_error_set(err, -EINVAL, "codec %d is unknown", (int)content->codec);
    if (content->block_shift < BLX_BLOCK_SHIFT_MIN || content->block_shift > BLX_BLOCK_SHIFT_MAX)
        return blx_error_set(err, -EINVAL, "a frame cannot have blocks of 2^%u bytes",
                             content->block_shift);
    if (content->extent_count == 0 || content->extent_count > BLX_FRAME_MAX_EXTENTS ||
        content->data_bytes > BLX_FRAME_MAX_DATA_BYTES)
        return blx_error_set(err, -EINVAL, "a frame cannot hold %u extents with %u bytes",
                             content->extent_count, content->data_bytes);
    return 0;
}

static int put_extents(const struct blx_frame_content *content, uint8_t *at, struct blx_error *err)
{
    for (uint32_t i = 0; i < content->extent_count; i++) {
        const struct blx_frame_extent *from = &content->extents[i];
        if (from->extent.block_count > UINT32_MAX)
            return blx_error_set(err, -EINVAL,
                                 "an extent of %" PRIu64 " blocks does not fit a frame",
                                 from->extent.block_count);
        struct blx_extent_disk disk = {
            .start_block = blx_le64_of(from->extent.start_block),
            .block_count = blx_le32_of((uint32_t)from->extent.block_count),
            .flags = blx_le32_of(from->zero ? BLX_EXTENT_ZERO : 0),
        };
        memcpy(at + (size_t)i * EXTENT_BYTES, &disk, sizeof(disk));
    }
    return 0;
}

/* Packs the data, or copies it if the codec does not make it smaller. Returns the codec it used. */
static int put_payload(const struct blx_frame_content *content, uint8_t *at, enum blx_codec *codec,
                       uint32_t *payload_bytes)
{
    size_t packed = 0;
    int rc = blx_codec_pack(content->codec, content->level, content->data, content->data_bytes, at,
                            &packed);
    if (rc < 0 && rc != -ENOSPC)
        return rc;
    if (rc == 0) {
        *codec = content->codec;
        *payload_bytes = (uint32_t)packed;
        return 0;
    }
    if (content->data_bytes > 0)
        memcpy(at, content->data, content->data_bytes);
    *codec = BLX_CODEC_NONE;
    *payload_bytes = content->data_bytes;
    return 0;
}

int blx_frame_pack(const struct blx_frame_content *content, void *buffer, size_t *frame_bytes,
                   struct blx_error *err)
{
    int rc = check_content(content, err);
    if (rc < 0)
        return rc;
    uint8_t *bytes = buffer;
    rc = put_extents(content, bytes + HEADER_BYTES, err);
    if (rc < 0)
        return rc;
    struct blx_frame view = {
        .block_shift = content->block_shift,
        .extent_count = content->extent_count,
        .data_bytes = content->data_bytes,
    };
    struct blx_error reason = {0};
    if (check_extents(bytes, &view, &reason) < 0)
        return blx_error_copy(err, -EINVAL, &reason);
    size_t payload_at = blx_frame_bound(content) - content->data_bytes;
    enum blx_codec codec = BLX_CODEC_NONE;
    uint32_t payload_bytes = 0;
    rc = put_payload(content, bytes + payload_at, &codec, &payload_bytes);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot pack a frame");
    size_t whole = payload_at + payload_bytes;
    struct blx_frame_header_disk header = {
        .magic = blx_le32_of(BLX_FRAME_MAGIC),
        .version = BLX_FRAME_VERSION,
        .codec = (uint8_t)codec,
        .block_shift = (uint8_t)content->block_shift,
        .flags = content->key != NULL ? BLX_FRAME_ENCRYPTED : 0,
        .frame_bytes = blx_le32_of((uint32_t)whole),
        .extent_count = blx_le32_of(content->extent_count),
        .data_bytes = blx_le32_of(content->data_bytes),
        .payload_bytes = blx_le32_of(payload_bytes),
    };
    memcpy(header.generation, content->generation.bytes, BLX_GENERATION_BYTES);
    memcpy(bytes, &header, sizeof(header));
    rc = content->key != NULL ? blx_frame_encrypt(content, bytes, payload_bytes, err) : 0;
    if (rc == 0)
        *frame_bytes = whole;
    return rc;
}

void blx_frame_seal(void *buffer, uint64_t seq)
{
    struct blx_frame_header_disk header;
    memcpy(&header, buffer, sizeof(header));
    header.seq = blx_le64_of(seq);
    header.checksum = blx_le64_of(0);
    memcpy(buffer, &header, sizeof(header));
    header.checksum = blx_le64_of(XXH3_64bits(buffer, blx_le32_get(header.frame_bytes)));
    memcpy(buffer, &header, sizeof(header));
}
