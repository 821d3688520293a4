/* SPDX-License-Identifier: Apache-2.0 */
/* A disk's GPT: it is left alone, or its second copy moves and the partitions stay. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "fuzz.h"
#include "store/restore/gpt.h"

enum { SECTOR = 512, GROWN = 96 * 1024 };

static uint64_t get(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = bytes; i-- > 0;)
        value = value << 8 | at[i];
    return value;
}

static void check_partitions(const char *path, const uint8_t *before)
{
    uint64_t first = get(before + SECTOR + 40, 8), last = get(before + SECTOR + 48, 8);
    uint8_t *after = calloc(1, GROWN);
    FILE *file = fopen(path, "re");
    FUZZ_ASSERT(after != NULL && file != NULL && fread(after, 1, GROWN, file) == GROWN);
    FUZZ_ASSERT(first <= last && last < GROWN / SECTOR);
    FUZZ_ASSERT(
        memcmp(after + first * SECTOR, before + first * SECTOR, (last - first + 1) * SECTOR) == 0);
    fclose(file);
    free(after);
}

static void check_disk(const uint8_t *disk)
{
    char path[PATH_MAX];
    struct blx_gpt_move move;
    struct blx_error err = {0};
    fuzz_path(path, "disk");
    fuzz_write_file(path, disk, GROWN);
    int rc = blx_gpt_move(path, &move, &err);
    if (rc < 0) {
        fuzz_assert_refusal(rc, &err);
        FUZZ_ASSERT(fuzz_file_is(path, disk, GROWN));
        return;
    }
    if (move.outcome != BLX_GPT_MOVED) {
        FUZZ_ASSERT(fuzz_file_is(path, disk, GROWN));
        return;
    }
    check_partitions(path, disk);
    FUZZ_ASSERT(blx_gpt_move(path, &move, NULL) == 0 && move.outcome == BLX_GPT_IN_PLACE);
}

static void repair(uint8_t *disk)
{
    uint8_t *header = disk + SECTOR;
    uint64_t entries = get(header + 72, 8) * SECTOR;
    uint64_t bytes = get(header + 80, 4) * get(header + 84, 4);
    if (entries < GROWN && bytes <= GROWN - entries) {
        uint32_t sum = (uint32_t)crc32(0, disk + entries, (uInt)bytes);
        memcpy(header + 88, &sum, sizeof(sum));
    }
    memset(header + 16, 0, 4);
    uint32_t sum = (uint32_t)crc32(0, header, 92);
    memcpy(header + 16, &sum, sizeof(sum));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *disk = calloc(1, GROWN);
    FUZZ_ASSERT(disk != NULL);
    memcpy(disk, data, size < GROWN ? size : GROWN);
    check_disk(disk);
    repair(disk);
    check_disk(disk);
    free(disk);
    return 0;
}
