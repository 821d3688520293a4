/* SPDX-License-Identifier: Apache-2.0 */
#include "store/segment/segment_walk_private.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "store/damage_private.h"
#include "store/segment/digest_check_private.h"
#include "store/segment/segment_scan_private.h"

enum { HEADER_BYTES = sizeof(struct blx_segment_header_disk) };

int blx_segment_walk_fault(struct blx_segment_walk *walk, uint64_t offset, uint64_t bytes,
                           enum blx_segment_harm harm, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int rc = blx_segment_findings_add_fault(walk->findings, offset, bytes, harm, format, args);
    va_end(args);
    return rc;
}

void blx_segment_walk_count(const struct blx_segment_walk *walk, uint64_t bytes)
{
    if (walk->request->checked_bytes != NULL)
        atomic_fetch_add(walk->request->checked_bytes, bytes);
}

static int compare_places(const void *a, const void *b)
{
    const struct blx_index_entry *x = a, *y = b;
    if (x->frame_offset != y->frame_offset)
        return x->frame_offset < y->frame_offset ? -1 : 1;
    if (x->extent.start_block == y->extent.start_block)
        return 0;
    return x->extent.start_block < y->extent.start_block ? -1 : 1;
}

int blx_segment_walk_prepare(struct blx_segment_walk *walk)
{
    const struct blx_index *index = &walk->reader.index;
    if (!walk->index_good || index->count == 0)
        return 0;
    walk->named.entries = calloc(index->count, sizeof(index->entries[0]));
    if (walk->named.entries == NULL)
        return -ENOMEM;
    walk->named.count = walk->named.capacity = index->count;
    memcpy(walk->named.entries, index->entries, index->count * sizeof(index->entries[0]));
    qsort(walk->named.entries, index->count, sizeof(index->entries[0]), compare_places);
    return 0;
}

/* The first frame at or after `offset` that the index names; NULL: none. */
static const struct blx_index_entry *next_named(struct blx_segment_walk *walk, uint64_t offset)
{
    while (walk->next_named < walk->named.count &&
           walk->named.entries[walk->next_named].frame_offset < offset)
        walk->next_named++;
    return walk->next_named < walk->named.count ? &walk->named.entries[walk->next_named] : NULL;
}

/* 0 and a frame that is whole and unpacks, -EBADMSG or the disk's error and why not. */
static int frame_at(struct blx_segment_walk *walk, uint64_t offset, uint64_t end,
                    struct blx_frame *frame, struct blx_error *cause)
{
    size_t bytes;
    int fd = walk->reader.fd;
    if (end - offset < sizeof(struct blx_frame_header_disk))
        return blx_error_set(cause, -EBADMSG, "no frame fits here");
    int rc = blx_pread_full(fd, walk->frame, sizeof(struct blx_frame_header_disk), offset);
    if (rc < 0)
        return blx_error_errno(cause, rc, "it cannot be read");
    rc = blx_frame_peek(walk->frame, &bytes, cause);
    if (rc < 0)
        return rc;
    if (bytes > end - offset || bytes > BLX_FRAME_MAX_BYTES)
        return blx_error_set(cause, -EBADMSG, "not a valid frame: it reaches too far");
    rc = blx_pread_full(fd, walk->frame, bytes, offset);
    if (rc < 0)
        return blx_error_errno(cause, rc, "it cannot be read");
    rc = blx_frame_parse(walk->frame, bytes, frame, cause);
    if (rc == 0 && frame->is_ciphertext)
        return 0; /* it cannot be unpacked here; its checksum covers the ciphertext */
    if (rc == 0 && (walk->data == NULL || frame->data_bytes > walk->data_bytes)) {
        free(walk->data);
        walk->data_bytes = frame->data_bytes;
        walk->data = malloc(walk->data_bytes + 1);
        rc = walk->data == NULL ? -ENOMEM : 0;
    }
    return rc < 0 ? rc : blx_frame_unpack(frame, walk->data, cause);
}

/* A frame that is lost keeps its place among the others: its entries in the index take part in the
 * comparison. If it is a fault they are noted with it. */
static int keep_lost(struct blx_segment_walk *walk, uint64_t offset, bool fault)
{
    struct blx_segment_summary *summary = &walk->rebuilt.summary;
    size_t at = walk->next_named;
    int rc = 0;
    for (; at < walk->named.count && walk->named.entries[at].frame_offset == offset; at++) {
        struct blx_index_entry entry = walk->named.entries[at];
        entry.rank = (uint32_t)summary->frame_count;
        rc = blx_index_add(&walk->rebuilt.index, &entry);
        if (rc == 0 && fault && !entry.zero)
            rc = blx_segment_findings_add_extent(walk->findings, entry.extent);
        if (rc < 0)
            return rc;
    }
    summary->frame_count++;
    summary->last_seq = 0; /* the next one need not follow */
    return 0;
}

/* Where the walk goes on after a place that holds no good frame; 0: nowhere. */
static int resync(struct blx_segment_walk *walk, uint64_t offset, uint64_t end, uint64_t *next)
{
    const struct blx_index_entry *named = next_named(walk, offset);
    if (named != NULL && named->frame_offset == offset) {
        *next = offset + named->frame_bytes;
        return 0;
    }
    uint64_t bound = named != NULL ? named->frame_offset : end;
    uint64_t found = 0;
    int rc =
        blx_segment_find_frame(walk->reader.fd, walk->reader.path, offset + 1, bound, &found, NULL);
    if (rc == -ENOMEM)
        return rc;
    *next = rc == 1 ? found : walk->footer_good ? bound : 0;
    return 0;
}

/* Whether [offset, offset + bytes) can be read and is all zeros. */
static bool is_zero(struct blx_segment_walk *walk, uint64_t offset, uint64_t bytes)
{
    size_t most = BLX_FRAME_MAX_BYTES;
    if (walk->findings->file_bytes < most)
        most = (size_t)walk->findings->file_bytes;
    while (bytes > 0) {
        size_t part = bytes < most ? (size_t)bytes : most;
        if (blx_pread_full(walk->reader.fd, walk->frame, part, offset) < 0 || walk->frame[0] != 0 ||
            memcmp(walk->frame, walk->frame + 1, part - 1) != 0)
            return false;
        offset += part;
        bytes -= part;
    }
    return true;
}

/* Takes in the frame at `offset`, or a fault in its place. `next` is where the next one begins; 0:
 * nothing more is to be found. */
static int step(struct blx_segment_walk *walk, uint64_t offset, uint64_t end, uint64_t *next)
{
    struct blx_frame frame;
    struct blx_error cause = {0};
    const struct blx_index_entry *named = next_named(walk, offset);
    uint64_t bound = named != NULL && named->frame_offset > offset ? named->frame_offset : end;
    int rc = frame_at(walk, offset, bound, &frame, &cause);
    if (rc == 0 && walk->rebuilt.summary.block_shift == 0)
        walk->rebuilt.summary.block_shift = frame.block_shift;
    if (rc == 0)
        rc = blx_segment_writer_note(&walk->rebuilt, &frame, offset, BLX_DIGESTS_MISSING, &cause);
    if (rc == 0) {
        walk->findings->frame_count++;
        *next = offset + frame.frame_bytes;
        return blx_digest_check_frame(walk, &frame, offset);
    }
    if (!blx_is_damage(rc))
        return rc;
    bool unreadable = rc == -EIO;
    rc = resync(walk, offset, end, next);
    if (rc == 0 && *next == 0 &&
        unreadable) /* no tail that a crash left, but frames that the disk keeps back */
        *next = end;
    if (rc < 0 || *next == 0)
        return rc;
    bool hole = is_zero(walk, offset, *next - offset);
    rc = hole ? blx_segment_findings_add_hole(walk->findings, offset, *next - offset)
              : blx_segment_walk_fault(walk, offset, *next - offset, BLX_HARM_FRAMES, "%s",
                                       cause.message);
    return rc < 0 ? rc : keep_lost(walk, offset, !hole);
}

int blx_segment_walk_frames(struct blx_segment_walk *walk, uint64_t end, uint64_t *frames_end)
{
    uint64_t offset = HEADER_BYTES;
    blx_segment_walk_count(walk, offset < end ? offset : end);
    while (offset < end) {
        uint64_t next;
        int rc = step(walk, offset, end, &next);
        if (rc < 0)
            return -ENOMEM;
        if (next == 0)
            break;
        blx_segment_walk_count(walk, next - offset);
        offset = next;
    }
    *frames_end = offset;
    return 0;
}

static bool same_place(const struct blx_index_entry *a, const struct blx_index_entry *b)
{
    if (a->zero != b->zero || a->frame_offset != b->frame_offset ||
        a->frame_bytes != b->frame_bytes)
        return false;
    return a->zero ||
           a->data_block - a->extent.start_block == b->data_block - b->extent.start_block;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The first block at or after `block` where an entry of the index begins or ends. */
static uint64_t next_edge(const struct blx_index_entry *entry, uint64_t block)
{
    if (entry == NULL)
        return UINT64_MAX;
    uint64_t start = entry->extent.start_block;
    return start > block ? start : start + entry->extent.block_count;
}

static const struct blx_index_entry *covering(const struct blx_index_entry *entry, uint64_t block)
{
    return entry != NULL && entry->extent.start_block <= block ? entry : NULL;
}

/* Blocks for which the stored index names another place than the frames do, as one fault. */
static int compare_indexes(struct blx_segment_walk *walk, uint64_t index_bytes)
{
    const struct blx_index *stored = &walk->reader.index, *rebuilt = &walk->rebuilt.index;
    bool found = false;
    for (uint64_t block = 0;;) {
        const struct blx_index_entry *one = blx_index_find(stored, block);
        const struct blx_index_entry *two = blx_index_find(rebuilt, block);
        uint64_t edge = smaller(next_edge(one, block), next_edge(two, block));
        if (edge == UINT64_MAX)
            return 0;
        one = covering(one, block);
        two = covering(two, block);
        bool same = one == NULL || two == NULL ? one == two : same_place(one, two);
        int rc = 0;
        if (!same && !found)
            rc =
                blx_segment_walk_fault(walk, walk->reader.index_offset_bytes, index_bytes,
                                       BLX_HARM_FRAMES, "its index does not agree with its frames");
        if (!same && rc == 0)
            rc = blx_segment_findings_add_extent(walk->findings,
                                                 (struct blx_extent){block, edge - block});
        if (rc < 0)
            return rc;
        found = found || !same;
        block = edge;
    }
}

/* Compares the rest of the footer, which can be done only if every frame was good. */
static bool footer_agrees(const struct blx_segment_walk *walk)
{
    const struct blx_segment_summary *stored = &walk->reader.summary;
    const struct blx_segment_summary *found = &walk->rebuilt.summary;
    return stored->rewritten == found->rewritten && stored->frame_count == found->frame_count &&
           stored->stored_bytes == found->stored_bytes && stored->first_seq == found->first_seq &&
           stored->last_seq == found->last_seq &&
           blx_generation_equal(&stored->last_generation, &found->last_generation) &&
           blx_key_id_equal(&stored->key_id, &found->key_id);
}

int blx_segment_walk_judge(struct blx_segment_walk *walk)
{
    struct blx_segment_findings *findings = walk->findings;
    uint64_t footer_bytes = sizeof(struct blx_segment_footer_disk);
    size_t frame_faults = findings->hole_count;
    for (size_t i = 0; i < findings->fault_count; i++)
        frame_faults += !findings->faults[i].whole;
    if (blx_index_flatten(&walk->rebuilt.index) < 0)
        return -ENOMEM;
    if (walk->index_good) {
        int rc = compare_indexes(walk, findings->file_bytes - footer_bytes -
                                           walk->reader.index_offset_bytes);
        if (rc < 0)
            return rc;
    }
    if (walk->footer_good && frame_faults == 0 && !footer_agrees(walk))
        return blx_segment_walk_fault(walk, findings->file_bytes - footer_bytes, footer_bytes,
                                      BLX_HARM_FRAMES, "its footer does not agree with its frames");
    return 0;
}
