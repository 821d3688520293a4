/* SPDX-License-Identifier: Apache-2.0 */
/* open.seg after a crash: what is recovered is a prefix, opens unchanged the next time, takes a
 * further frame and can be sealed; what is refused stays as it was. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"
#include "repair.h"
#include "store/layout_private.h"
#include "store/segment/segment.h"

enum { BLOCK_SHIFT = 12, FRAME_BYTES = 256 };

static uint64_t size_of(const char *path)
{
    struct stat st;
    FUZZ_ASSERT(stat(path, &st) == 0);
    return (uint64_t)st.st_size;
}

static bool is_same(const struct blx_segment_summary *a, const struct blx_segment_summary *b)
{
    return a->number == b->number && a->block_shift == b->block_shift &&
           a->frame_count == b->frame_count && a->stored_bytes == b->stored_bytes &&
           a->first_seq == b->first_seq && a->last_seq == b->last_seq &&
           blx_generation_equal(&a->last_generation, &b->last_generation);
}

/* One more frame, the next in order. */
static void append_next(struct blx_segment_writer *writer,
                        const struct blx_segment_summary *summary)
{
    const struct blx_frame_extent extent = {{7, 3}, true};
    struct blx_frame_content content = {
        .block_shift = summary->block_shift,
        .generation = summary->last_generation,
        .extents = &extent,
        .extent_count = 1,
    };
    uint8_t bytes[FRAME_BYTES];
    size_t frame_bytes = 0;
    struct blx_frame frame;
    if (blx_generation_is_none(&content.generation))
        content.generation.bytes[0] = 1;
    FUZZ_ASSERT(blx_frame_pack(&content, bytes, &frame_bytes, NULL) == 0);
    blx_frame_seal(bytes, summary->last_seq + 1);
    FUZZ_ASSERT(blx_frame_parse(bytes, frame_bytes, &frame, NULL) == 0);
    FUZZ_ASSERT(blx_segment_writer_append(writer, &frame, NULL) == 0);
    FUZZ_ASSERT(blx_segment_writer_sync(writer, NULL) == 0);
}

static void check_sealed(const char *dir, const struct blx_segment_summary *sealed)
{
    struct blx_segment_reader *reader = NULL;
    FUZZ_ASSERT(blx_segment_reader_open(dir, sealed->number, &reader, NULL) == 0);
    FUZZ_ASSERT(is_same(blx_segment_reader_summary(reader), sealed));
    FUZZ_ASSERT(blx_segment_reader_summary(reader)->changed_blocks == sealed->changed_blocks);
    const struct blx_index *index = blx_segment_reader_index(reader);
    for (size_t i = 0; i < index->count; i++) {
        const struct blx_index_entry *entry = &index->entries[i];
        struct blx_frame frame;
        uint8_t *buffer = malloc(entry->frame_bytes);
        FUZZ_ASSERT(buffer != NULL);
        FUZZ_ASSERT(blx_segment_reader_frame(reader, entry->frame_offset, entry->frame_bytes,
                                             buffer, &frame, NULL) == 0);
        FUZZ_ASSERT(entry->zero || ((uint64_t)entry->data_block + entry->extent.block_count)
                                           << frame.block_shift <=
                                       frame.data_bytes);
        free(buffer);
    }
    blx_segment_reader_close(reader);
}

/* The recovered segment a second time; then it goes on. */
static void check_recovered(const char *dir, const char *path,
                            const struct blx_segment_summary *summary)
{
    struct blx_segment_writer *writer = NULL;
    struct blx_segment_summary again, sealed;
    struct blx_segment_recovery done = {.cut_bytes = 1};
    FUZZ_ASSERT(blx_segment_writer_open(dir, summary->number, BLOCK_SHIFT, &writer, &done, NULL) ==
                0);
    blx_segment_writer_summary(writer, &again);
    FUZZ_ASSERT(done.cut_bytes == 0 && done.damage[0] == '\0' && is_same(summary, &again));
    FUZZ_ASSERT(size_of(path) == sizeof(struct blx_segment_header_disk) + again.stored_bytes);
    /* No agent counts that far, but a frame may say that it did. */
    if (again.last_seq == UINT64_MAX) {
        blx_segment_writer_close(writer);
        return;
    }
    append_next(writer, &again);
    FUZZ_ASSERT(blx_segment_writer_seal(writer, &sealed, NULL) == 0);
    FUZZ_ASSERT(sealed.frame_count == again.frame_count + 1);
    check_sealed(dir, &sealed);
}

static void check_open(const uint8_t *data, size_t size)
{
    char dir[PATH_MAX], path[PATH_MAX];
    struct blx_segment_writer *writer = NULL;
    struct blx_segment_summary summary;
    struct blx_error err = {0};
    struct blx_segment_recovery done = {0};
    fuzz_path(dir, "volume");
    fuzz_path(path, "volume/open.seg");
    fuzz_remove(dir);
    FUZZ_ASSERT(mkdir(dir, 0700) == 0);
    fuzz_write_file(path, data, size);
    int rc = blx_segment_writer_open(dir, 1, BLOCK_SHIFT, &writer, &done, &err);
    if (rc < 0) {
        fuzz_assert_refusal(rc, &err);
        FUZZ_ASSERT(fuzz_file_is(path, data, size));
        return;
    }
    blx_segment_writer_summary(writer, &summary);
    blx_segment_writer_close(writer);
    uint64_t cut = done.cut_bytes;
    FUZZ_ASSERT(cut <= size);
    /* A header that was torn is written again, and so is one of an older version that no frame
     * follows; otherwise the bytes that are left are those that were there. */
    const bool renewed =
        size >= sizeof(struct blx_segment_header_disk) &&
        data[offsetof(struct blx_segment_header_disk, version)] < BLX_SEGMENT_VERSION;
    if (summary.frame_count == 0 && renewed)
        FUZZ_ASSERT(size_of(path) == sizeof(struct blx_segment_header_disk));
    else if (size - cut >= sizeof(struct blx_segment_header_disk))
        FUZZ_ASSERT(fuzz_file_is(path, data, size - cut));
    else
        FUZZ_ASSERT(cut == size && summary.frame_count == 0);
    check_recovered(dir, path, &summary);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_open(data, size);
    uint8_t *repaired = fuzz_copy(data, size);
    repair_open_segment(repaired, size);
    check_open(repaired, size);
    free(repaired);
    return 0;
}
