/* SPDX-License-Identifier: Apache-2.0 */
#include "store/view/stored_frame_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void blx_stored_frame_done(struct blx_stored_frame *stored)
{
    free(stored->packed.bytes);
    free(stored->data.bytes);
    *stored = (struct blx_stored_frame){0};
}

/* The content is lost. */
static int hold(struct blx_stored_bytes *buffer, size_t bytes, struct blx_error *err)
{
    if (bytes <= buffer->size)
        return 0;
    size_t alignment = BLX_STORED_FRAME_ALIGNMENT;
    size_t size = (bytes + alignment - 1) / alignment * alignment;
    free(buffer->bytes);
    *buffer = (struct blx_stored_bytes){.bytes = aligned_alloc(alignment, size)};
    if (buffer->bytes == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot read a stored frame");
    buffer->size = size;
    return 0;
}

static int unpack(struct blx_stored_frame *stored, const struct blx_volume_key *key,
                  struct blx_error *err)
{
    struct blx_frame *frame = &stored->frame;
    int rc = blx_frame_decrypt(frame, stored->packed.bytes, key, err);
    if (rc == 0)
        rc = hold(&stored->data, frame->data_bytes, err);
    return rc == 0 ? blx_frame_unpack(frame, stored->data.bytes, err) : rc;
}

int blx_stored_frame_copy(struct blx_stored_frame *stored, const void *bytes, size_t count,
                          struct blx_error *err)
{
    int rc = hold(&stored->packed, count, err);
    if (rc == 0)
        memcpy(stored->packed.bytes, bytes, count);
    return rc;
}

int blx_stored_frame_parse(struct blx_stored_frame *stored, size_t count,
                           const struct blx_volume_key *key, struct blx_error *err)
{
    int rc = blx_frame_parse(stored->packed.bytes, count, &stored->frame, err);
    return rc == 0 ? unpack(stored, key, err) : rc;
}

int blx_stored_frame_fetch(struct blx_stored_frame *stored, const struct blx_segment_reader *reader,
                           const struct blx_index_entry *entry, struct blx_error *err)
{
    int rc = hold(&stored->packed, entry->frame_bytes, err);
    return rc < 0 ? rc
                  : blx_segment_reader_frame(reader, entry->frame_offset, entry->frame_bytes,
                                             stored->packed.bytes, &stored->frame, err);
}

int blx_stored_frame_read(struct blx_stored_frame *stored, const struct blx_segment_reader *reader,
                          const struct blx_index_entry *entry, const struct blx_volume_key *key,
                          struct blx_error *err)
{
    int rc = blx_stored_frame_fetch(stored, reader, entry, err);
    if (rc < 0)
        return rc;
    rc = unpack(stored, key, err);
    if (rc < 0)
        blx_error_prefix(err, "segment %u, byte %llu", blx_segment_reader_summary(reader)->number,
                         (unsigned long long)entry->frame_offset);
    return rc;
}

bool blx_stored_frame_holds(struct blx_stored_cursor *cursor, const struct blx_index_entry *entry)
{
    uint64_t block = entry->extent.start_block, end = block + entry->extent.block_count;
    while (block < end && cursor->extent < cursor->frame->extent_count) {
        struct blx_frame_extent at = blx_frame_extent_at(cursor->frame, cursor->extent);
        uint64_t at_end = at.extent.start_block + at.extent.block_count;
        if (at_end <= block) {
            cursor->data_block += at.zero ? 0 : at.extent.block_count;
            cursor->extent++;
            continue;
        }
        if (at.extent.start_block > block || at.zero ||
            cursor->data_block + (block - at.extent.start_block) !=
                entry->data_block + (block - entry->extent.start_block))
            return false;
        block = at_end;
    }
    return block >= end;
}

int blx_stored_frame_lacks(const struct blx_segment_reader *reader, uint64_t seq,
                           struct blx_error *err)
{
    return blx_error_set(err, -EBADMSG,
                         "segment %u is damaged: its index names other blocks than frame %llu has",
                         blx_segment_reader_summary(reader)->number, (unsigned long long)seq);
}
