/* SPDX-License-Identifier: Apache-2.0 */
#include "store/segment/digest_check_private.h"

#include <errno.h>
#include <string.h>
#include <xxhash.h>

#include "base/io.h"

enum { FRAME_MAX_DIGESTS = BLX_FRAME_MAX_DATA_BYTES >> BLX_BLOCK_SHIFT_MIN };

int blx_digest_check_table(struct blx_segment_walk *walk)
{
    const struct blx_segment_reader *reader = &walk->reader;
    const struct blx_segment_summary *summary = &reader->summary;
    uint8_t piece[FRAME_MAX_DIGESTS << BLX_BLOCK_DIGEST_SHIFT];
    if (!walk->index_good || summary->digest_count == 0)
        return 0;
    XXH3_state_t *state = XXH3_createState();
    if (state == NULL)
        return -ENOMEM;
    XXH3_64bits_reset(state);
    int rc = 0;
    for (uint32_t at = 0, part; rc == 0 && at < summary->digest_count; at += part) {
        part = summary->digest_count - at;
        part = part < FRAME_MAX_DIGESTS ? part : FRAME_MAX_DIGESTS;
        rc = blx_segment_reader_digests(reader, at, part, piece, NULL);
        XXH3_64bits_update(state, piece, (size_t)part << BLX_BLOCK_DIGEST_SHIFT);
    }
    walk->digests_good = rc == 0 && XXH3_64bits_digest(state) == reader->digests_checksum;
    XXH3_freeState(state);
    if (walk->digests_good)
        return 0;
    return blx_segment_walk_fault(
        walk, reader->frames_end_bytes, reader->index_offset_bytes - reader->frames_end_bytes,
        BLX_HARM_FRAMES,
        rc < 0 ? "its digests cannot be read" : "its digests have a wrong checksum");
}

/* The digests that the frame's blocks should have; false: nobody here can tell. */
static bool make_digests(const struct blx_segment_walk *walk, const struct blx_frame *frame,
                         uint8_t digests[FRAME_MAX_DIGESTS << BLX_BLOCK_DIGEST_SHIFT], int *rc)
{
    const struct blx_key_id *made_with = &walk->reader.summary.digest_key_id;
    const struct blx_volume_key *key = walk->request->digest_key;
    *rc = 0;
    if (frame->digests != NULL && blx_key_id_equal(&frame->key_id, made_with)) {
        memcpy(digests, frame->digests,
               blx_frame_digest_bytes(frame->data_bytes, frame->block_shift));
        return true;
    }
    if (frame->is_ciphertext || key == NULL || !blx_key_id_equal(&key->id, made_with))
        return false;
    *rc = blx_frame_digest(frame, walk->data, key, digests, NULL);
    return *rc == 0;
}

/* A frame under comparison. */
struct comparison {
    struct blx_segment_walk *walk;
    const struct blx_frame *frame;
    uint64_t offset;
    bool noted; /* the fault is there, and takes further blocks */
    uint8_t digests[FRAME_MAX_DIGESTS << BLX_BLOCK_DIGEST_SHIFT]; /* as they should be */
};

static int note_fault(struct comparison *comparison, const char *what)
{
    const struct blx_frame *frame = comparison->frame;
    if (comparison->noted)
        return 0;
    comparison->noted = true;
    return blx_segment_walk_fault(comparison->walk, comparison->offset, frame->frame_bytes,
                                  BLX_HARM_FRAMES, "the digests of frame %llu %s",
                                  (unsigned long long)frame->seq, what);
}

static int note_block(struct comparison *comparison, uint64_t block)
{
    int rc = note_fault(comparison, "are not those of its blocks");
    return rc < 0 ? rc
                  : blx_segment_findings_add_extent(comparison->walk->findings,
                                                    (struct blx_extent){block, 1});
}

static int compare_entry(struct comparison *comparison, const struct blx_index_entry *entry)
{
    const struct blx_frame *frame = comparison->frame;
    uint8_t stored[FRAME_MAX_DIGESTS << BLX_BLOCK_DIGEST_SHIFT];
    uint64_t count = entry->extent.block_count;
    if (!entry->has_digests || entry->data_block + count > frame->data_bytes >> frame->block_shift)
        return 0;
    int rc = blx_segment_reader_digests(&comparison->walk->reader, entry->digest, (uint32_t)count,
                                        stored, NULL);
    if (rc < 0) /* the frame is good all the same */
        return note_fault(comparison, "cannot be read");
    const uint8_t *wanted =
        comparison->digests + ((size_t)entry->data_block << BLX_BLOCK_DIGEST_SHIFT);
    for (uint64_t i = 0; rc == 0 && i < count; i++)
        if (memcmp(stored + (i << BLX_BLOCK_DIGEST_SHIFT), wanted + (i << BLX_BLOCK_DIGEST_SHIFT),
                   BLX_BLOCK_DIGEST_BYTES) != 0)
            rc = note_block(comparison, entry->extent.start_block + i);
    return rc;
}

int blx_digest_check_frame(struct blx_segment_walk *walk, const struct blx_frame *frame,
                           uint64_t offset)
{
    struct comparison comparison = {.walk = walk, .frame = frame, .offset = offset};
    int rc = 0;
    if (!walk->digests_good || frame->data_bytes == 0 ||
        !make_digests(walk, frame, comparison.digests, &rc))
        return rc == -ENOMEM ? rc : 0;
    const struct blx_index *named = &walk->named;
    for (size_t at = walk->next_named;
         rc == 0 && at < named->count && named->entries[at].frame_offset == offset; at++)
        rc = compare_entry(&comparison, &named->entries[at]);
    return rc;
}
