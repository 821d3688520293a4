/* SPDX-License-Identifier: Apache-2.0 */
/* The second copy of a GPT, on disks larger than the old one, and tables that lie. */
#include "store/restore/gpt.h"

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "gpt_image.h"

enum { SMALL = 512, LARGE = 4096, SECTORS = 1024, LARGE_SECTORS = 200, GROWN = 4000 };

struct disk {
    char dir[64], path[80];
    struct gpt_image before, after;
};

static int setup(void **state)
{
    struct disk *disk = calloc(1, sizeof(*disk));
    assert_non_null(disk);
    snprintf(disk->dir, sizeof(disk->dir), "%s/blxrep-gpt-XXXXXX",
             getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(disk->dir));
    snprintf(disk->path, sizeof(disk->path), "%s/disk", disk->dir);
    gpt_image_make(&disk->before, SMALL, SECTORS);
    *state = disk;
    return 0;
}

static int teardown(void **state)
{
    struct disk *disk = *state;
    gpt_image_done(&disk->before);
    gpt_image_done(&disk->after);
    unlink(disk->path);
    rmdir(disk->dir);
    free(disk);
    return 0;
}

/* Moves the table of `before` on a disk of `sectors`; `after` is that disk then. */
static int move(struct disk *disk, uint64_t sectors, struct blx_gpt_move *moved,
                struct blx_error *err)
{
    gpt_image_save(&disk->before, disk->path, sectors);
    int rc = blx_gpt_move(disk->path, moved, err);
    gpt_image_done(&disk->after);
    gpt_image_load(&disk->after, disk->path, disk->before.sector_bytes);
    return rc;
}

/* What `before` has from the first partition to the end of the last one. */
static void assert_partitions_same(const struct disk *disk)
{
    uint64_t first = gpt_image_get64(&disk->before, 1, 40);
    uint64_t last = gpt_image_get64(&disk->before, 1, 48);
    size_t at = first * disk->before.sector_bytes;
    assert_memory_equal(disk->after.bytes + at, disk->before.bytes + at,
                        (last - first + 1) * disk->before.sector_bytes);
}

static void assert_moves(struct disk *disk, uint64_t sectors)
{
    struct blx_gpt_move moved;
    struct blx_error err = {0};
    uint64_t old = disk->before.sectors - 1, table = 16384 / disk->before.sector_bytes;
    if (move(disk, sectors, &moved, &err) < 0)
        fail_msg("%llu sectors: %s", (unsigned long long)sectors, err.message);
    assert_int_equal(moved.outcome, BLX_GPT_MOVED);
    assert_int_equal(moved.gained_bytes,
                     (sectors - disk->before.sectors) * disk->before.sector_bytes);
    assert_true(gpt_image_copy_is_whole(&disk->after, 1));
    assert_true(gpt_image_copy_is_whole(&disk->after, sectors - 1));
    assert_int_equal(gpt_image_get64(&disk->after, 1, 32), sectors - 1);
    assert_int_equal(gpt_image_get64(&disk->after, sectors - 1, 32), 1);
    assert_int_equal(gpt_image_get64(&disk->after, 1, 48), sectors - 2 - table);
    assert_int_equal(gpt_image_get64(&disk->after, sectors - 1, 48), sectors - 2 - table);
    assert_false(gpt_image_copy_is_whole(&disk->after, old));
    assert_int_equal(disk->after.bytes[446 + 12] + 256 * disk->after.bytes[446 + 13], sectors - 1);
    assert_partitions_same(disk);
    assert_int_equal(blx_gpt_move(disk->path, &moved, NULL), 0);
    assert_int_equal(moved.outcome, BLX_GPT_IN_PLACE);
}

static void the_second_copy_follows_the_end(void **state)
{
    assert_moves(*state, GROWN);
}

/* The new copy then lies over parts of the old one. */
static void a_disk_that_has_grown_a_little_keeps_its_partitions(void **state)
{
    for (uint64_t grown = 1; grown <= 40; grown++)
        assert_moves(*state, SECTORS + grown);
}

static void an_image_of_large_sectors_is_known_by_its_table(void **state)
{
    struct disk *disk = *state;
    gpt_image_done(&disk->before);
    gpt_image_make(&disk->before, LARGE, LARGE_SECTORS);
    assert_moves(disk, 2 * LARGE_SECTORS);
    assert_moves(disk, LARGE_SECTORS + 2);
}

static void a_disk_of_the_same_size_is_not_written(void **state)
{
    struct disk *disk = *state;
    struct blx_gpt_move moved;
    assert_int_equal(move(disk, SECTORS, &moved, NULL), 0);
    assert_int_equal(moved.outcome, BLX_GPT_IN_PLACE);
    assert_memory_equal(disk->after.bytes, disk->before.bytes, GPT_IMAGE_MAX_BYTES);
}

static void a_disk_without_a_gpt_is_not_written(void **state)
{
    struct disk *disk = *state;
    struct blx_gpt_move moved;
    memset(disk->before.bytes + SMALL, 0, SMALL);
    assert_int_equal(move(disk, GROWN, &moved, NULL), 0);
    assert_int_equal(moved.outcome, BLX_GPT_NONE);
    assert_memory_equal(disk->after.bytes, disk->before.bytes, SECTORS * SMALL);
    assert_int_equal(move(disk, SECTORS, &moved, NULL), 0);
    disk->before.sectors = 1; /* too short for any */
    assert_int_equal(move(disk, 1, &moved, NULL), 0);
    assert_int_equal(moved.outcome, BLX_GPT_NONE);
}

/* Somebody's own MBR, with partitions of DOS beside the GPT's, is as it was. */
static void an_mbr_that_is_not_protective_stays(void **state)
{
    struct disk *disk = *state;
    struct blx_gpt_move moved;
    disk->before.bytes[446 + 12] ^= 0xff;
    assert_int_equal(move(disk, GROWN, &moved, NULL), 0);
    assert_int_equal(moved.outcome, BLX_GPT_MOVED);
    assert_memory_equal(disk->after.bytes, disk->before.bytes, SMALL);
}

static void assert_refused(struct disk *disk, uint64_t sectors, int code, const char *text)
{
    struct blx_gpt_move moved = {.gained_bytes = 77};
    struct blx_error err = {0};
    assert_int_equal(move(disk, sectors, &moved, &err), code);
    if (strstr(err.message, text) == NULL || strstr(err.message, disk->path) == NULL)
        fail_msg("'%s' does not say '%s'", err.message, text);
    assert_int_equal(moved.gained_bytes, 77);
    assert_memory_equal(disk->after.bytes, disk->before.bytes,
                        (sectors < SECTORS ? sectors : SECTORS) * SMALL);
}

static void a_disk_that_is_too_small_is_refused(void **state)
{
    assert_refused(*state, SECTORS - 1, -ENOSPC, "larger disk");
}

static void a_damaged_table_is_left_alone(void **state)
{
    struct disk *disk = *state;
    disk->before.bytes[SMALL + 60] ^= 1;
    assert_refused(disk, GROWN, -EBADMSG, "the header's checksum");
    disk->before.bytes[SMALL + 60] ^= 1;
    disk->before.bytes[2 * SMALL + 100] ^= 1;
    assert_refused(disk, GROWN, -EBADMSG, "the checksum of the partitions");
}

/* Each with right checksums, so that the check that it is about is reached. */
static void a_table_that_lies_is_left_alone(void **state)
{
    static const struct {
        unsigned at;
        uint64_t value;
        int code;
        const char *text;
    } lies[] = {
        {24, 2, -EBADMSG, "lies elsewhere"},
        {32, GROWN, -ENOSPC, "larger disk"},
        {32, UINT64_MAX, -ENOSPC, "larger disk"},
        {32, 500, -ENOSPC, "larger disk"}, /* amid a partition */
        {40, UINT64_MAX, -EBADMSG, "before the partitions"},
        {40, 10, -EBADMSG, "before the partitions"},
        {40, 70, -EBADMSG, "a partition lies outside"},
        {48, UINT64_MAX, -ENOSPC, "larger disk"},
        {48, 60, -EBADMSG, "a partition lies outside"},
        {72, 0, -EBADMSG, "before the partitions"},
        {72, 1, -EBADMSG, "before the partitions"},
        {72, 500, -EBADMSG, "before the partitions"},
        {72, UINT64_MAX - 3, -EBADMSG, "before the partitions"},
        {80, 0, -EBADMSG, "its size makes no sense"},                     /* 0 entries of 0 bytes */
        {80, UINT64_C(128) << 32 | 0xffffffff, -EBADMSG, "its size"},     /* too many */
        {80, UINT64_C(0xffffff80) << 32 | 1, -EBADMSG, "its size"},       /* too large */
        {80, UINT64_C(64) << 32 | 128, -EBADMSG, "its size makes no"},    /* too small */
        {80, UINT64_C(4096) << 32 | 128, -EBADMSG, "before the partitio"} /* too long */
    };
    struct disk *disk = *state;
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        gpt_image_done(&disk->before);
        gpt_image_make(&disk->before, SMALL, SECTORS);
        gpt_image_put64(&disk->before, lies[i].at, lies[i].value);
        gpt_image_seal(&disk->before);
        assert_refused(disk, GROWN, lies[i].code, lies[i].text);
    }
    gpt_image_done(&disk->before);
    gpt_image_make(&disk->before, SMALL, SECTORS);
    gpt_image_put32(&disk->before, 12, 512);
    gpt_image_seal(&disk->before);
    assert_refused(disk, GROWN, -EBADMSG, "unknown length");
}

static void a_partition_that_lies_is_left_alone(void **state)
{
    static const uint64_t lies[][2] = {{64, SECTORS - 1}, {0, 70}, {80, 79}, {64, UINT64_MAX}};
    struct disk *disk = *state;
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        gpt_image_done(&disk->before);
        gpt_image_make(&disk->before, SMALL, SECTORS);
        uint8_t *entry = disk->before.bytes + 2 * SMALL + 5 * 128;
        memset(entry, 1, 32);
        memcpy(entry + 32, lies[i], 16);
        gpt_image_seal(&disk->before);
        assert_refused(disk, GROWN, -EBADMSG, "a partition lies outside");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_second_copy_follows_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(a_disk_that_has_grown_a_little_keeps_its_partitions, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_image_of_large_sectors_is_known_by_its_table, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_disk_of_the_same_size_is_not_written, setup, teardown),
        cmocka_unit_test_setup_teardown(a_disk_without_a_gpt_is_not_written, setup, teardown),
        cmocka_unit_test_setup_teardown(an_mbr_that_is_not_protective_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(a_disk_that_is_too_small_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_table_is_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_table_that_lies_is_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_partition_that_lies_is_left_alone, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
