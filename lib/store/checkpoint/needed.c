/* SPDX-License-Identifier: Apache-2.0 */
#include "store/checkpoint/needed_private.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bitmap.h"
#include "base/cleanup.h"
#include "store/damage_private.h"
#include "store/segment/segment_reader_private.h"

/* What newer segments hold already. */
struct covered {
    uint64_t *words; /* owned */
    uint64_t blocks; /* of the volume */
};

static void covered_done(struct covered *covered)
{
    free(covered->words);
}

static int no_memory(const char *volume_dir, struct blx_error *err)
{
    return blx_error_errno(err, -ENOMEM, "cannot tell which frames of '%s' are needed", volume_dir);
}

/* Whether a block of the extent is not covered. */
static bool any_open(const struct covered *covered, struct blx_extent extent)
{
    uint64_t block = extent.start_block, end = block + extent.block_count;
    while (block < end) {
        uint64_t in_word = block % 64, count = 64 - in_word;
        if (count > end - block)
            count = end - block;
        uint64_t mask = (count == 64 ? ~0ULL : (1ULL << count) - 1) << in_word;
        if ((covered->words[block / 64] & mask) != mask)
            return true;
        block += count;
    }
    return false;
}

static int compare_frames(const void *a, const void *b)
{
    const struct blx_needed_frame *x = a, *y = b;
    if (x->offset_bytes == y->offset_bytes)
        return 0;
    return x->offset_bytes < y->offset_bytes ? -1 : 1;
}

/* Puts them in order, each once. */
static void sort_frames(struct blx_needed_frame *frames, struct blx_needed_segment *segment)
{
    size_t kept = 0;
    qsort(frames, segment->frame_count, sizeof(frames[0]), compare_frames);
    for (size_t i = 0; i < segment->frame_count; i++) {
        if (kept > 0 && frames[kept - 1].offset_bytes == frames[i].offset_bytes)
            continue;
        frames[kept++] = frames[i];
        segment->bytes += frames[i].bytes;
    }
    segment->frame_count = kept;
}

static int compare_offset(const void *key, const void *frame)
{
    uint64_t offset = *(const uint64_t *)key;
    const struct blx_needed_frame *found = frame;
    if (offset == found->offset_bytes)
        return 0;
    return offset < found->offset_bytes ? -1 : 1;
}

/* How many entries name a needed frame, whether they are needed themselves or not. */
static uint64_t count_entries(const struct blx_index *index, const struct blx_needed_frame *frames,
                              size_t frame_count)
{
    uint64_t count = 0;
    for (size_t i = 0; frame_count > 0 && i < index->count; i++)
        count += bsearch(&index->entries[i].frame_offset, frames, frame_count, sizeof(frames[0]),
                         compare_offset) != NULL;
    return count;
}

static int visit_segment(const char *volume_dir, const struct blx_segment_reader *reader,
                         struct covered *covered, blx_needed_visit *visit, void *arg,
                         struct blx_error *err)
{
    const struct blx_index *index = blx_segment_reader_index(reader);
    struct blx_needed_segment segment = {.number = reader->summary.number,
                                         .frames_end_bytes = reader->frames_end_bytes};
    BLX_CLEANUP_FREE struct blx_needed_frame *frames = calloc(index->count + 1, sizeof(frames[0]));
    if (frames == NULL)
        return no_memory(volume_dir, err);
    for (size_t i = 0; i < index->count; i++) {
        const struct blx_index_entry *entry = &index->entries[i];
        if (entry->extent.start_block + entry->extent.block_count > covered->blocks)
            return blx_error_set(err, -EBADMSG,
                                 "the segment '%s' holds blocks beyond the end of its volume",
                                 reader->path);
        if (!any_open(covered, entry->extent))
            continue;
        frames[segment.frame_count++] =
            (struct blx_needed_frame){entry->frame_offset, entry->frame_bytes};
        blx_bitmap_set(covered->words, entry->extent);
    }
    if (segment.frame_count > 0)
        sort_frames(frames, &segment);
    segment.frames = frames;
    segment.entries = count_entries(index, frames, segment.frame_count);
    return visit(arg, &segment, err);
}

int blx_needed_find(const char *volume_dir, const struct blx_manifest_volume *volume,
                    blx_needed_visit *visit, void *arg, uint64_t *blocks, struct blx_error *err)
{
    BLX_CLEANUP(covered_done)
    struct covered covered = {.blocks =
                                  blx_blocks_of_bytes(volume->size_bytes, volume->block_shift)};
    covered.words = calloc(blx_bitmap_words(covered.blocks), sizeof(covered.words[0]));
    if (covered.words == NULL)
        return no_memory(volume_dir, err);
    for (uint32_t i = volume->segment_count; i > 0; i--) {
        struct blx_segment_reader *reader;
        int rc = blx_segment_reader_open(volume_dir, volume->segments[i - 1], &reader, err);
        if (rc < 0)
            return blx_missing_is_damage(rc);
        rc = visit_segment(volume_dir, reader, &covered, visit, arg, err);
        blx_segment_reader_close(reader);
        if (rc != 0)
            return rc;
    }
    if (blocks != NULL)
        *blocks = blx_bitmap_count(covered.words, covered.blocks);
    return 0;
}

bool blx_needed_within(const struct blx_needed_segment *segment, uint64_t offset_bytes,
                       uint64_t bytes)
{
    size_t low = 0, high = segment->frame_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct blx_needed_frame *frame = &segment->frames[middle];
        if (frame->offset_bytes + frame->bytes > offset_bytes)
            high = middle;
        else
            low = middle + 1;
    }
    return low < segment->frame_count && segment->frames[low].offset_bytes < offset_bytes + bytes;
}
