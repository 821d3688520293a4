/* SPDX-License-Identifier: Apache-2.0 */
/* A manifest: what decodes encodes, and the second time to the same bytes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "repair.h"
#include "store/layout_private.h"
#include "store/checkpoint/manifest_codec_private.h"

static void check_content(const struct blx_manifest *manifest)
{
    FUZZ_ASSERT(manifest->volume_count >= 1 && manifest->volume_count <= BLX_MAX_VOLUMES);
    FUZZ_ASSERT(manifest->parent < manifest->timestamp);
    bool full = true;
    FUZZ_ASSERT(blx_manifest_count_entries(manifest) <= BLX_MAX_VOLUMES);
    for (uint32_t i = 0; i < blx_manifest_count_entries(manifest); i++) {
        const struct blx_manifest_volume *volume = &manifest->volumes[i];
        FUZZ_ASSERT(blx_name_check("volume name", volume->name, NULL) == 0);
        FUZZ_ASSERT(blx_manifest_find(manifest, volume->name) == volume);
        for (uint32_t j = 0; j < volume->segment_count; j++)
            FUZZ_ASSERT(volume->segments[j] < volume->next_segment &&
                        (j == 0 || volume->segments[j] > volume->segments[j - 1]));
        uint64_t end = 0;
        for (uint32_t j = 0; j < volume->unreadable_count; j++) {
            FUZZ_ASSERT(volume->unreadable[j].start_block >= end);
            end = volume->unreadable[j].start_block + volume->unreadable[j].block_count;
            FUZZ_ASSERT(end > volume->unreadable[j].start_block &&
                        (end - 1) << volume->block_shift < volume->size_bytes);
        }
        full = full && (volume->base || i >= manifest->volume_count);
    }
    FUZZ_ASSERT(blx_manifest_is_full(manifest) == full);
}

static void check_round(const struct blx_manifest *manifest)
{
    struct blx_manifest again;
    void *first = NULL, *second = NULL;
    size_t first_bytes = 0, second_bytes = 0;
    FUZZ_ASSERT(blx_manifest_encode(manifest, &first, &first_bytes, NULL) == 0);
    FUZZ_ASSERT(blx_manifest_decode(first, first_bytes, &again, NULL) == 0);
    FUZZ_ASSERT(blx_manifest_encode(&again, &second, &second_bytes, NULL) == 0);
    FUZZ_ASSERT(first_bytes == second_bytes && memcmp(first, second, first_bytes) == 0);
    blx_manifest_done(&again);
    free(first);
    free(second);
}

static void check_manifest(const uint8_t *data, size_t size)
{
    struct blx_manifest manifest;
    struct blx_error err = {0};
    uint8_t *content = fuzz_copy(data, size);
    int rc = blx_manifest_decode(content, size, &manifest, &err);
    FUZZ_ASSERT(size == 0 || memcmp(content, data, size) == 0);
    if (rc < 0) {
        fuzz_assert_refusal(rc, &err);
        FUZZ_ASSERT(rc == -EBADMSG || rc == -ENOTSUP);
    } else {
        check_content(&manifest);
        check_round(&manifest);
        blx_manifest_done(&manifest);
    }
    free(content);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_manifest(data, size);
    uint8_t *repaired = fuzz_copy(data, size);
    repair_whole(repaired, size, offsetof(struct blx_manifest_disk, checksum));
    check_manifest(repaired, size);
    free(repaired);
    return 0;
}
