/* SPDX-License-Identifier: Apache-2.0 */
#include "store/checkpoint/needed_private.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "store/damage_private.h"
#include "store/segment/coverage_private.h"
#include "store/segment/segment_reader_private.h"

static int no_memory(const char *volume_dir, struct blx_error *err)
{
    return blx_error_errno(err, -ENOMEM, "cannot tell which frames of '%s' are needed", volume_dir);
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

/* Counts the entries that name a needed frame, whether they are needed themselves or not. */
static void count_entries(const struct blx_index *index, struct blx_needed_segment *segment)
{
    for (size_t i = 0; segment->frame_count > 0 && i < index->count; i++) {
        const struct blx_index_entry *entry = &index->entries[i];
        if (bsearch(&entry->frame_offset, segment->frames, segment->frame_count,
                    sizeof(segment->frames[0]), compare_offset) == NULL)
            continue;
        segment->entries++;
        segment->data_blocks += entry->zero ? 0 : entry->extent.block_count;
    }
}

static int visit_segment(const char *volume_dir, const struct blx_segment_reader *reader,
                         struct blx_coverage *covered, blx_needed_visit *visit, void *arg,
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
        if (blx_extent_end(entry->extent) > covered->blocks)
            return blx_error_set(err, -EBADMSG,
                                 "the segment '%s' holds blocks beyond the end of its volume",
                                 reader->path);
        if (blx_coverage_has(covered, entry->extent))
            continue;
        frames[segment.frame_count++] =
            (struct blx_needed_frame){entry->frame_offset, entry->frame_bytes};
        if (blx_coverage_add(covered, entry->extent) < 0)
            return no_memory(volume_dir, err);
    }
    if (segment.frame_count > 0)
        sort_frames(frames, &segment);
    segment.frames = frames;
    count_entries(index, &segment);
    return visit(arg, &segment, err);
}

int blx_needed_find(const char *volume_dir, const struct blx_manifest_volume *volume,
                    blx_needed_visit *visit, void *arg, uint64_t *blocks, struct blx_error *err)
{
    uint64_t declared = blx_blocks_of_bytes(volume->size_bytes, volume->block_shift);
    BLX_CLEANUP(blx_coverage_done) struct blx_coverage covered; /* by newer segments */
    if (blx_coverage_init(&covered, declared) < 0)
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
        *blocks = covered.covered;
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
