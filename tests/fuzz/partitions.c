/* SPDX-License-Identifier: Apache-2.0 */
/* Partition tables of a server that was broken into: the search ends soon, and what is found lies
 * inside the disk and has a name of its own. */
#include <string.h>

#include "fuzz.h"
#include "store/view/partitions.h"

enum { MAX_READS = 1000 };

/* The input, again and again, so that whatever a table points to is there, and chains meet. */
struct disk {
    const uint8_t *data;
    size_t size;
    uint64_t size_bytes;
    unsigned reads;
};

static int read_disk(void *arg, void *buffer, size_t bytes, uint64_t offset_bytes)
{
    struct disk *disk = arg;
    uint8_t *to = buffer;
    FUZZ_ASSERT(offset_bytes <= disk->size_bytes && bytes <= disk->size_bytes - offset_bytes);
    FUZZ_ASSERT(++disk->reads <= MAX_READS);
    for (size_t i = 0; i < bytes; i++)
        to[i] = disk->data[(offset_bytes + i) % disk->size];
    return 0;
}

static void check(const uint8_t *data, size_t size, uint64_t size_bytes)
{
    struct disk disk = {.data = data, .size = size, .size_bytes = size_bytes};
    const struct blx_partitioned shown = {
        .read = read_disk, .arg = &disk, .size_bytes = size_bytes};
    struct blx_partition found[BLX_MAX_PARTITIONS];
    int count = blx_partitions_find(&shown, found);
    FUZZ_ASSERT(count >= 0 && count <= BLX_MAX_PARTITIONS);
    for (int i = 0; i < count; i++) {
        FUZZ_ASSERT(found[i].number > (i > 0 ? found[i - 1].number : 0));
        FUZZ_ASSERT(found[i].offset_bytes > 0 && found[i].bytes > 0);
        FUZZ_ASSERT(found[i].offset_bytes < size_bytes);
        FUZZ_ASSERT(found[i].bytes <= size_bytes - found[i].offset_bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    check(data, size, size);
    check(data, size, UINT64_C(1) << 42); /* any pointer of a DOS table is inside */
    check(data, size, UINT64_MAX);
    return 0;
}
