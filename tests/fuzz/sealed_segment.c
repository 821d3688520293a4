/* SPDX-License-Identifier: Apache-2.0 */
/* A sealed segment: an index that is taken is sorted and points into the file; a restore that reads
 * it makes the whole image or none. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "repair.h"
#include "store/layout_private.h"
#include "store/checkpoint/manifest_file.h"
#include "store/restore/restore.h"
#include "store/segment/segment.h"

enum { BLOCK_SHIFT = 12, VOLUME_BLOCKS = 64, MAX_FRAMES_READ = 64 };
#define CHECKPOINT UINT64_C(20261122203600)
#define SIZE_BYTES ((uint64_t)VOLUME_BLOCKS << BLOCK_SHIFT)

static struct blx_store store = {.lock_fd = -1};
static char volume_dir[PATH_MAX], segment_path[PATH_MAX], image_path[PATH_MAX];

/* A store with one checkpoint of one volume with one segment, whose file comes from outside. */
static void make_store(void)
{
    char data_dir[PATH_MAX], path[PATH_MAX];
    uint32_t segments[] = {1};
    struct blx_manifest_volume volume = {
        .name = "vda",
        .size_bytes = SIZE_BYTES,
        .block_shift = BLOCK_SHIFT,
        .generation.bytes = {1},
        .base = true,
        .next_segment = 2,
        .segment_count = 1,
        .segments = segments,
    };
    const struct blx_manifest manifest = {
        .timestamp = CHECKPOINT, .volume_count = 1, .volumes = &volume};
    fuzz_path(data_dir, "data");
    FUZZ_ASSERT(blx_store_open(data_dir, BLX_STORE_INIT, &store, NULL) == 0);
    static const char *const folders[] = {
        "data/agents", "data/agents/web1", "data/agents/web1/checkpoints",
        "data/agents/web1/volumes", "data/agents/web1/volumes/vda"};
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        fuzz_path(path, folders[i]);
        FUZZ_ASSERT(mkdir(path, 0700) == 0 || errno == EEXIST);
    }
    FUZZ_ASSERT(blx_manifest_write(blx_store_agent(&store, "web1"), &manifest, NULL) == 0);
    fuzz_path(volume_dir, "data/agents/web1/volumes/vda");
    fuzz_path(segment_path, "data/agents/web1/volumes/vda/00000001.seg");
    fuzz_path(image_path, "image");
}

static void check_frame(const struct blx_segment_reader *reader,
                        const struct blx_index_entry *entry)
{
    struct blx_frame frame;
    struct blx_error err = {0};
    uint8_t *buffer = malloc(entry->frame_bytes);
    FUZZ_ASSERT(buffer != NULL);
    int rc = blx_segment_reader_frame(reader, entry->frame_offset, entry->frame_bytes, buffer,
                                      &frame, &err);
    if (rc < 0)
        fuzz_assert_refusal(rc, &err);
    else
        FUZZ_ASSERT(frame.frame_bytes == entry->frame_bytes);
    free(buffer);
}

static void check_index(const struct blx_segment_reader *reader, size_t size)
{
    const struct blx_index *index = blx_segment_reader_index(reader);
    uint64_t end = 0;
    for (size_t i = 0; i < index->count; i++) {
        const struct blx_index_entry *entry = &index->entries[i];
        FUZZ_ASSERT(entry->extent.block_count > 0 && entry->extent.start_block >= end);
        end = entry->extent.start_block + entry->extent.block_count;
        FUZZ_ASSERT(end > entry->extent.start_block);
        FUZZ_ASSERT(entry->frame_offset + entry->frame_bytes <= size);
        FUZZ_ASSERT(blx_index_find(index, entry->extent.start_block) == entry);
        FUZZ_ASSERT(blx_index_find(index, end - 1) == entry);
        if (i < MAX_FRAMES_READ)
            check_frame(reader, entry);
    }
    FUZZ_ASSERT(blx_index_blocks(index) == blx_segment_reader_summary(reader)->changed_blocks);
}

static void check_restore(bool opens)
{
    struct blx_error err = {0};
    struct stat st;
    char partial[PATH_MAX + 16];
    const struct blx_restore_target target = {.path = image_path};
    int rc = blx_restore(blx_store_agent(&store, "web1"), CHECKPOINT, "vda", &target, NULL, &err);
    FUZZ_ASSERT(rc < 0 || opens);
    if (rc < 0) {
        fuzz_assert_refusal(rc, &err);
        FUZZ_ASSERT(lstat(image_path, &st) < 0 && errno == ENOENT);
    } else {
        FUZZ_ASSERT(stat(image_path, &st) == 0 && (uint64_t)st.st_size == SIZE_BYTES);
        FUZZ_ASSERT(unlink(image_path) == 0);
    }
    snprintf(partial, sizeof(partial), "%s.partial", image_path);
    FUZZ_ASSERT(lstat(partial, &st) < 0 && errno == ENOENT);
}

static void check_segment(const uint8_t *data, size_t size)
{
    struct blx_segment_reader *reader = NULL;
    struct blx_error err = {0};
    fuzz_write_file(segment_path, data, size);
    int rc = blx_segment_reader_open(volume_dir, 1, &reader, &err);
    if (rc < 0)
        fuzz_assert_refusal(rc, &err);
    else
        check_index(reader, size);
    blx_segment_reader_close(reader);
    check_restore(rc == 0);
    FUZZ_ASSERT(fuzz_file_is(segment_path, data, size));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (store.data_dir[0] == '\0')
        make_store();
    int next_fd = fuzz_next_fd();
    check_segment(data, size);
    uint8_t *repaired = fuzz_copy(data, size);
    repair_sealed_segment(repaired, size);
    check_segment(repaired, size);
    free(repaired);
    FUZZ_ASSERT(fuzz_next_fd() == next_fd);
    return 0;
}
