/* SPDX-License-Identifier: Apache-2.0 */
#include "store/view/image_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "crypt/block_digest.h"
#include "store/segment/segment.h"

/* An unpacked frame, or the digests of an encrypted one. */
struct cached_frame {
    uint8_t *data; /* owned; NULL: the slot is free */
    uint32_t segment;
    uint64_t offset;
    uint64_t data_bytes;
    uint64_t used; /* when it was used last, by the image's count of uses */
};

struct blx_image {
    struct blx_plan plan; /* the index is sorted by block, the zero entries are in it */
    struct cached_frame frames[BLX_IMAGE_FRAMES];
    uint64_t uses;
    uint8_t *packed; /* owned; BLX_FRAME_MAX_BYTES */
    struct blx_key_id key_id;
    unsigned unit_shift;
};

int blx_image_new(struct blx_plan *plan, const struct blx_key_id *key_id, struct blx_image **image,
                  struct blx_error *err)
{
    struct blx_image *made = calloc(1, sizeof(*made));
    uint8_t *packed = malloc(BLX_FRAME_MAX_BYTES);
    if (made == NULL || packed == NULL || blx_index_flatten(&plan->index) < 0) {
        free(made);
        free(packed);
        return blx_error_errno(err, -ENOMEM, "cannot read what is stored");
    }
    made->packed = packed;
    made->plan = *plan;
    made->key_id = *key_id;
    made->unit_shift = blx_key_id_is_none(key_id) ? plan->block_shift : BLX_BLOCK_DIGEST_SHIFT;
    *plan = (struct blx_plan){0};
    *image = made;
    return 0;
}

void blx_image_close(struct blx_image *image)
{
    if (image == NULL)
        return;
    for (size_t i = 0; i < BLX_IMAGE_FRAMES; i++)
        free(image->frames[i].data);
    blx_plan_done(&image->plan);
    free(image->packed);
    free(image);
}

uint64_t blx_image_size_bytes(const struct blx_image *image)
{
    return image->plan.size_bytes;
}

unsigned blx_image_block_shift(const struct blx_image *image)
{
    return image->plan.block_shift;
}

unsigned blx_image_unit_shift(const struct blx_image *image)
{
    return image->unit_shift;
}

/* What the image has of a frame's blocks. */
static int take_units(const struct blx_image *image, const struct blx_frame *frame, uint8_t *units,
                      size_t bytes, struct blx_error *err)
{
    if (!blx_key_id_equal(&frame->key_id, &image->key_id))
        return blx_error_set(err, -EBADMSG, "frame %llu is not of the image's key",
                             (unsigned long long)frame->seq);
    if (frame->digests == NULL)
        return blx_frame_unpack(frame, units, err);
    memcpy(units, frame->digests, bytes);
    return 0;
}

static int unpack(struct blx_image *image, const struct blx_index_entry *entry,
                  struct cached_frame *slot, struct blx_error *err)
{
    const struct blx_segment_reader *reader = image->plan.segments[entry->segment];
    struct blx_frame frame;
    free(slot->data);
    slot->data = NULL;
    struct blx_error cause = {0};
    int rc = blx_segment_reader_frame(reader, entry->frame_offset, entry->frame_bytes,
                                      image->packed, &frame, &cause);
    if (rc < 0) /* a frame that cannot be read is lost like a damaged one */
        return blx_error_set(err, rc == -ENOMEM ? rc : -EBADMSG, "%s", cause.message);
    size_t bytes = (size_t)(frame.data_bytes >> frame.block_shift) << image->unit_shift;
    BLX_CLEANUP_FREE uint8_t *data = malloc(bytes + 1);
    if (data == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot read what is stored");
    rc = take_units(image, &frame, data, bytes, err);
    if (rc < 0)
        return rc;
    slot->data = blx_take_ptr(data);
    slot->segment = entry->segment;
    slot->offset = entry->frame_offset;
    slot->data_bytes = bytes;
    return 0;
}

/* The frame of the entry, from the cache or in place of the one that was used longest ago. */
static int find_frame(struct blx_image *image, const struct blx_index_entry *entry,
                      const struct cached_frame **found, struct blx_error *err)
{
    struct cached_frame *oldest = &image->frames[0];
    struct cached_frame *slot = NULL;
    for (size_t i = 0; slot == NULL && i < BLX_IMAGE_FRAMES; i++) {
        struct cached_frame *at = &image->frames[i];
        if (at->data != NULL && at->segment == entry->segment && at->offset == entry->frame_offset)
            slot = at;
        if (at->data == NULL || (oldest->data != NULL && at->used < oldest->used))
            oldest = at;
    }
    int rc = 0;
    if (slot == NULL) {
        slot = oldest;
        rc = unpack(image, entry, slot, err);
    }
    slot->used = ++image->uses;
    *found = slot;
    return rc;
}

static void put_zeros(const struct blx_image *image, uint64_t count, uint8_t *to)
{
    if (blx_key_id_is_none(&image->key_id)) {
        memset(to, 0, count << image->unit_shift);
        return;
    }
    for (uint64_t i = 0; i < count; i++)
        memcpy(to + (i << image->unit_shift), blx_block_digest_zero, BLX_BLOCK_DIGEST_BYTES);
}

/* Blocks of one entry, `skip` blocks from its start. */
static int read_entry(struct blx_image *image, const struct blx_index_entry *entry, uint64_t skip,
                      uint64_t count, uint8_t *to, struct blx_error *err)
{
    unsigned shift = image->unit_shift;
    const struct cached_frame *frame;
    if (entry->segment == BLX_IMAGE_UNKNOWN)
        return blx_error_set(err, -EBADMSG,
                             "the last checkpoint lacks blocks that the agent could not read");
    if (entry->zero) {
        put_zeros(image, count, to);
        return 0;
    }
    int rc = find_frame(image, entry, &frame, err);
    if (rc < 0)
        return rc;
    uint64_t from = (entry->data_block + skip) << shift, bytes = count << shift;
    if (from > frame->data_bytes || bytes > frame->data_bytes - from)
        return blx_error_set(err, -EBADMSG,
                             "a segment is damaged: its index points beyond a frame's data");
    memcpy(to, frame->data + from, bytes);
    return 0;
}

int blx_image_read(struct blx_image *image, uint64_t block, uint32_t count, void *buffer,
                   struct blx_error *err)
{
    uint8_t *to = buffer;
    uint64_t end = block + count;
    while (block < end) {
        const struct blx_index_entry *entry = blx_index_find(&image->plan.index, block);
        uint64_t start = entry == NULL ? end : entry->extent.start_block;
        uint64_t part_end;
        int rc = 0;
        if (start > block) { /* a hole up to the entry */
            part_end = start < end ? start : end;
            put_zeros(image, part_end - block, to);
        } else {
            uint64_t entry_end = start + entry->extent.block_count;
            part_end = entry_end < end ? entry_end : end;
            rc = read_entry(image, entry, block - start, part_end - block, to, err);
        }
        if (rc < 0)
            return rc;
        to += (part_end - block) << image->unit_shift;
        block = part_end;
    }
    return 0;
}
