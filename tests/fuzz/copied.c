/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint of a copy elsewhere: what decodes encodes to the same content. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "repair.h"
#include "store/copy/copied.h"
#include "store/layout_private.h"

static void check_content(const struct blx_copied *copied)
{
    size_t segments = 0;
    FUZZ_ASSERT(copied->manifest.parent == 0);
    for (uint32_t i = 0; i < blx_manifest_count_entries(&copied->manifest); i++) {
        const struct blx_manifest_volume *entry = &copied->manifest.volumes[i];
        FUZZ_ASSERT(entry->base);
        FUZZ_ASSERT(blx_copied_of(copied, entry) == copied->objects + segments);
        segments += entry->segment_count;
    }
    FUZZ_ASSERT(segments == copied->object_count);
}

static void check_round(const struct blx_copied *copied)
{
    struct blx_copied again;
    void *first = NULL, *second = NULL;
    size_t first_bytes = 0, second_bytes = 0;
    FUZZ_ASSERT(blx_copied_encode(copied, &first, &first_bytes, NULL) == 0);
    FUZZ_ASSERT(blx_copied_decode(first, first_bytes, &again, NULL) == 0);
    FUZZ_ASSERT(blx_copied_encode(&again, &second, &second_bytes, NULL) == 0);
    FUZZ_ASSERT(first_bytes == second_bytes && memcmp(first, second, first_bytes) == 0);
    blx_copied_done(&again);
    free(first);
    free(second);
}

static void check_copied(const uint8_t *data, size_t size)
{
    struct blx_copied copied;
    struct blx_error err = {0};
    uint8_t *content = fuzz_copy(data, size);
    int rc = blx_copied_decode(content, size, &copied, &err);
    FUZZ_ASSERT(size == 0 || memcmp(content, data, size) == 0);
    if (rc < 0) {
        fuzz_assert_refusal(rc, &err);
        FUZZ_ASSERT(rc == -EBADMSG || rc == -ENOTSUP);
    } else {
        check_content(&copied);
        check_round(&copied);
        blx_copied_done(&copied);
    }
    free(content);
}

/* The manifest inside has a checksum of its own, which is mended first. */
static void repair_copied(uint8_t *data, size_t size)
{
    struct blx_copied_disk disk;
    if (size < sizeof(disk))
        return;
    memcpy(&disk, data, sizeof(disk));
    size_t manifest = blx_le32_get(disk.manifest_bytes), rest = size - sizeof(disk);
    repair_whole(data + sizeof(disk), manifest < rest ? manifest : rest,
                 offsetof(struct blx_manifest_disk, checksum));
    repair_whole(data, size, offsetof(struct blx_copied_disk, checksum));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_copied(data, size);
    uint8_t *repaired = fuzz_copy(data, size);
    repair_copied(repaired, size);
    check_copied(repaired, size);
    free(repaired);
    return 0;
}
