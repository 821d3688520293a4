/* SPDX-License-Identifier: Apache-2.0 */
#include "repair.h"

#include <string.h>

#include "store/layout_private.h"
#include "wire/frame.h"

enum {
    FRAME_HEADER_BYTES = sizeof(struct blx_frame_header_disk),
    EXTENT_BYTES = sizeof(struct blx_extent_disk),
    SEGMENT_HEADER_BYTES = sizeof(struct blx_segment_header_disk),
    FOOTER_BYTES = sizeof(struct blx_segment_footer_disk),
    ENTRY_BYTES = sizeof(struct blx_index_entry_disk),
};

void repair_whole(uint8_t *bytes, size_t size, size_t offset)
{
    if (size < offset + sizeof(blx_le64))
        return;
    blx_le64 checksum = blx_le64_of(blx_layout_checksum(bytes, size, offset));
    memcpy(bytes + offset, &checksum, sizeof(checksum));
}

/* What the extents that have data add up to. */
static uint64_t data_bytes_of(const uint8_t *extents, size_t count, unsigned block_shift)
{
    uint64_t blocks = 0;
    for (size_t i = 0; i < count; i++) {
        struct blx_extent_disk extent;
        memcpy(&extent, extents + i * EXTENT_BYTES, sizeof(extent));
        if (blx_le32_get(extent.flags) == 0)
            blocks += blx_le32_get(extent.block_count);
    }
    return blocks << (block_shift & 31);
}

void repair_frame(uint8_t *bytes, size_t size)
{
    struct blx_frame_header_disk header;
    if (size < FRAME_HEADER_BYTES || size > UINT32_MAX)
        return;
    memcpy(&header, bytes, sizeof(header));
    size_t room = (size - FRAME_HEADER_BYTES) / EXTENT_BYTES;
    size_t count = blx_le32_get(header.extent_count);
    if (count > room)
        count = room;
    const uint8_t *extents = bytes + FRAME_HEADER_BYTES;
    uint64_t data_bytes = data_bytes_of(extents, count, header.block_shift);
    size_t before_payload = FRAME_HEADER_BYTES + count * EXTENT_BYTES;
    if ((header.flags & BLX_FRAME_ENCRYPTED) != 0)
        before_payload +=
            sizeof(struct blx_frame_encryption_disk) +
            (size_t)((data_bytes >> (header.block_shift & 31)) << BLX_BLOCK_DIGEST_SHIFT);
    header.extent_count = blx_le32_of((uint32_t)count);
    header.frame_bytes = blx_le32_of((uint32_t)size);
    header.payload_bytes = blx_le32_of((uint32_t)(size - before_payload));
    header.data_bytes = blx_le32_of((uint32_t)data_bytes);
    memcpy(bytes, &header, sizeof(header));
    blx_frame_seal(bytes, blx_le64_get(header.seq));
}

/* The frames from the segment's header up to `end`; their own sizes are believed. */
static void repair_frames(uint8_t *bytes, size_t end)
{
    for (size_t at = SEGMENT_HEADER_BYTES; at < end && end - at >= FRAME_HEADER_BYTES;) {
        struct blx_frame_header_disk header;
        memcpy(&header, bytes + at, sizeof(header));
        size_t frame_bytes = blx_le32_get(header.frame_bytes);
        if (frame_bytes < FRAME_HEADER_BYTES || frame_bytes > end - at)
            return;
        repair_frame(bytes + at, frame_bytes);
        at += frame_bytes;
    }
}

static void repair_segment_header(uint8_t *bytes, size_t size)
{
    if (size >= SEGMENT_HEADER_BYTES)
        repair_whole(bytes, SEGMENT_HEADER_BYTES,
                     offsetof(struct blx_segment_header_disk, checksum));
}

void repair_open_segment(uint8_t *bytes, size_t size)
{
    repair_segment_header(bytes, size);
    repair_frames(bytes, size);
}

void repair_sealed_segment(uint8_t *bytes, size_t size)
{
    struct blx_segment_footer_disk footer;
    repair_segment_header(bytes, size);
    if (size < SEGMENT_HEADER_BYTES + FOOTER_BYTES)
        return;
    uint8_t *footer_at = bytes + size - FOOTER_BYTES;
    memcpy(&footer, footer_at, sizeof(footer));
    size_t room = (size - SEGMENT_HEADER_BYTES - FOOTER_BYTES) / ENTRY_BYTES;
    size_t count =
        blx_le64_get(footer.index_count) < room ? (size_t)blx_le64_get(footer.index_count) : room;
    uint8_t *index = footer_at - count * ENTRY_BYTES;
    uint64_t blocks = 0;
    for (size_t i = 0; i < count; i++) {
        struct blx_index_entry_disk entry;
        memcpy(&entry, index + i * ENTRY_BYTES, sizeof(entry));
        blocks += blx_le64_get(entry.block_count);
    }
    repair_frames(bytes, (size_t)(index - bytes));
    footer.index_count = blx_le64_of(count);
    footer.index_offset = blx_le64_of((uint64_t)(index - bytes));
    footer.changed_blocks = blx_le64_of(blocks);
    footer.index_checksum = blx_le64_of(blx_layout_checksum_all(index, count * ENTRY_BYTES));
    memcpy(footer_at, &footer, sizeof(footer));
    repair_whole(footer_at, FOOTER_BYTES, offsetof(struct blx_segment_footer_disk, checksum));
}
