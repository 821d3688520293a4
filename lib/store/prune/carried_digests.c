/* SPDX-License-Identifier: Apache-2.0 */
#include "store/prune/carried_digests_private.h"

#include <errno.h>
#include <stdlib.h>

static void forget(struct blx_carried_digests *carried)
{
    blx_segment_reader_close(carried->reader);
    free(carried->entries);
    carried->reader = NULL;
    carried->entries = NULL;
    carried->entry_count = 0;
}

void blx_carried_digests_done(struct blx_carried_digests *carried)
{
    forget(carried);
    free(carried->data);
    carried->data = NULL;
}

static int compare_frames(const void *a, const void *b)
{
    const struct blx_index_entry *x = a, *y = b;
    return x->frame_offset == y->frame_offset ? 0 : x->frame_offset < y->frame_offset ? -1 : 1;
}

/* Digests of another key than the one that is known are as good as none. */
static bool has_table(const struct blx_carried_digests *carried)
{
    const struct blx_segment_summary *summary = blx_segment_reader_summary(carried->reader);
    return summary->digest_count > 0 && blx_key_id_is_none(&summary->key_id) &&
           (carried->key == NULL || blx_key_id_equal(&carried->key->id, &summary->digest_key_id));
}

int blx_carried_digests_open(struct blx_carried_digests *carried, const char *volume_dir,
                             uint32_t number, struct blx_error *err)
{
    forget(carried);
    int rc = blx_segment_reader_open(volume_dir, number, &carried->reader, err);
    if (rc < 0 || !has_table(carried))
        return rc;
    const struct blx_index *index = blx_segment_reader_index(carried->reader);
    carried->entries = calloc(index->count + 1, sizeof(carried->entries[0]));
    if (carried->entries == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot rewrite segments in '%s'", volume_dir);
    for (size_t i = 0; i < index->count; i++)
        if (index->entries[i].has_digests)
            carried->entries[carried->entry_count++] = index->entries[i];
    qsort(carried->entries, carried->entry_count, sizeof(carried->entries[0]), compare_frames);
    blx_segment_reader_shrink(carried->reader, BLX_SEGMENT_KEEP_FILE);
    return 0;
}

struct blx_key_id blx_carried_digests_key(const struct blx_carried_digests *carried)
{
    static const struct blx_key_id none;
    if (carried->key != NULL)
        return carried->key->id;
    return carried->entry_count > 0 ? blx_segment_reader_summary(carried->reader)->digest_key_id
                                    : none;
}

/* The first entry of the frame, if it has any. */
static size_t first_of(const struct blx_carried_digests *carried, uint64_t offset_bytes)
{
    size_t low = 0, high = carried->entry_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (carried->entries[middle].frame_offset < offset_bytes)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* True if the table has the digest of each block of the frame: it lacks those of blocks that a
 * later frame of the segment has, too. */
static bool read_table(struct blx_carried_digests *carried, const struct blx_frame *frame,
                       uint64_t offset_bytes)
{
    uint64_t blocks = frame->data_bytes >> frame->block_shift, found = 0;
    for (size_t i = first_of(carried, offset_bytes);
         i < carried->entry_count && carried->entries[i].frame_offset == offset_bytes; i++) {
        const struct blx_index_entry *entry = &carried->entries[i];
        uint64_t count = entry->extent.block_count;
        if (entry->data_block + count > blocks ||
            blx_segment_reader_digests(
                carried->reader, entry->digest, (uint32_t)count,
                carried->digests + ((size_t)entry->data_block << BLX_BLOCK_DIGEST_SHIFT), NULL) < 0)
            return false;
        found += count;
    }
    return found == blocks;
}

/* 1; 0: the frame does not unpack, which verify will say. */
static int make_digests(struct blx_carried_digests *carried, const struct blx_frame *frame,
                        struct blx_error *err)
{
    if (carried->data == NULL)
        carried->data = malloc(BLX_FRAME_MAX_DATA_BYTES);
    if (carried->data == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot make the digests of a frame");
    int rc = blx_frame_unpack(frame, carried->data, NULL);
    if (rc == -EBADMSG)
        return 0;
    if (rc == 0)
        rc = blx_frame_digest(frame, carried->data, carried->key, carried->digests, NULL);
    return rc < 0 ? blx_error_errno(err, rc, "cannot make the digests of a frame") : 1;
}

int blx_carried_digests_find(struct blx_carried_digests *carried, struct blx_frame *frame,
                             uint64_t offset_bytes, struct blx_error *err)
{
    int rc = 0;
    if (frame->digests != NULL || frame->data_bytes == 0)
        return 0;
    bool found = read_table(carried, frame, offset_bytes);
    if (!found && carried->key != NULL)
        rc = make_digests(carried, frame, err);
    if (found || rc == 1)
        frame->digests = carried->digests;
    return rc < 0 ? rc : 0;
}
