/* SPDX-License-Identifier: Apache-2.0 */
/* Partition tables, good and hostile. */
#include "store/view/partitions.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/le.h"

enum { SECTORS = 4096, BYTES = SECTORS * 512 };

struct image {
    uint8_t bytes[BYTES];
    unsigned reads;
};

static struct image image;
static struct blx_partition found[BLX_MAX_PARTITIONS];

static int read_image(void *arg, void *buffer, size_t bytes, uint64_t offset_bytes)
{
    struct image *from = arg;
    assert_true(offset_bytes <= BYTES && bytes <= BYTES - offset_bytes);
    from->reads++;
    memcpy(buffer, from->bytes + offset_bytes, bytes);
    return 0;
}

static int find(void)
{
    const struct blx_partitioned disk = {.read = read_image, .arg = &image, .size_bytes = BYTES};
    image.reads = 0;
    memset(found, 0xee, sizeof(found));
    return blx_partitions_find(&disk, found);
}

static int setup(void **state)
{
    (void)state;
    memset(&image, 0, sizeof(image));
    return 0;
}

static void put32(size_t offset, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        image.bytes[offset + (size_t)i] = (uint8_t)(value >> 8 * i);
}

static void put_dos(uint32_t sector, unsigned at, uint8_t type, uint32_t start, uint32_t count)
{
    size_t entry = (size_t)sector * 512 + 446 + 16 * at;
    image.bytes[entry + 4] = type;
    put32(entry + 8, start);
    put32(entry + 12, count);
    image.bytes[sector * 512 + 510] = 0x55;
    image.bytes[sector * 512 + 511] = 0xaa;
}

static void put_gpt(uint32_t header_sector, uint32_t entries_sector, uint32_t count)
{
    size_t at = (size_t)header_sector * 512;
    memcpy(image.bytes + at, "EFI PART", 8);
    put32(at + 72, entries_sector);
    put32(at + 80, count);
    put32(at + 84, 128);
}

static void put_gpt_entry(uint32_t entries_sector, unsigned at, uint32_t first, uint32_t last)
{
    size_t entry = (size_t)entries_sector * 512 + 128 * at;
    memset(image.bytes + entry, 0x11, 16);
    for (size_t i = 0; i < 16; i++)
        image.bytes[entry + 16 + i] = (uint8_t)(0xa0 + i);
    put32(entry + 32, first);
    put32(entry + 40, last);
}

static void check(int at, unsigned number, uint64_t start, uint64_t count)
{
    assert_int_equal(found[at].number, number);
    assert_int_equal(found[at].offset_bytes, start * 512);
    assert_int_equal(found[at].bytes, count * 512);
}

static void a_disk_without_a_table_has_none(void **state)
{
    (void)state;
    assert_int_equal(find(), 0);
    image.bytes[510] = 0x55; /* as the first sector of a FAT has it */
    image.bytes[511] = 0xaa;
    memset(image.bytes + 446, 'x', 64);
    assert_int_equal(find(), 0);
}

static void a_gpt_is_read(void **state)
{
    (void)state;
    put_dos(0, 0, 0xee, 1, SECTORS - 1);
    put_gpt(1, 2, 128);
    put_gpt_entry(2, 0, 34, 99);
    put_gpt_entry(2, 4, 100, 100);
    put_gpt_entry(2, 5, 200, 199);     /* ends before it begins */
    put_gpt_entry(2, 6, 300, SECTORS); /* beyond the disk */
    put_gpt_entry(2, 7, 300, UINT32_MAX);
    assert_int_equal(find(), 2);
    check(0, 1, 34, 66);
    check(1, 5, 100, 1);
    assert_string_equal(found[0].id, "a3a2a1a0-a5a4-a7a6-a8a9-aaabacadaeaf");
}

static void a_partition_is_named_as_the_kernel_names_it(void **state)
{
    (void)state;
    char name[32];
    blx_partition_name("vda", 12, name, sizeof(name));
    assert_string_equal(name, "vda12");
    blx_partition_name("/dev/nvme0n1", 3, name, sizeof(name));
    assert_string_equal(name, "/dev/nvme0n1p3");
    put32(440, 0x1234abcd);
    put_dos(0, 1, 0x83, 8, 16);
    assert_int_equal(find(), 1);
    assert_string_equal(found[0].id, "1234abcd-02");
}

static void the_second_copy_of_a_gpt_helps(void **state)
{
    (void)state;
    put_dos(0, 0, 0xee, 1, SECTORS - 1);
    put_gpt(SECTORS - 1, SECTORS - 33, 4);
    put_gpt_entry(SECTORS - 33, 1, 64, 127);
    assert_int_equal(find(), 1);
    check(0, 2, 64, 64);
}

static void a_dos_table_is_read(void **state)
{
    (void)state;
    put_dos(0, 0, 0x83, 64, 100);
    put_dos(0, 1, 0x05, 1000, 2000);
    put_dos(0, 3, 0x82, 200, 50);
    put_dos(1000, 0, 0x83, 2, 98);
    put_dos(1000, 1, 0x05, 100, 200);
    put_dos(1100, 0, 0x83, 2, 98);
    assert_int_equal(find(), 4);
    check(0, 1, 64, 100);
    check(1, 4, 200, 50);
    check(2, 5, 1002, 98);
    check(3, 6, 1102, 98);
}

static void a_chain_of_logical_partitions_that_turns_in_a_circle_ends(void **state)
{
    (void)state;
    put_dos(0, 0, 0x05, 1000, 2000);
    put_dos(0, 1, 0x0f, 1000, 2000);
    put_dos(1000, 0, 0x83, 2, 98);
    put_dos(1000, 1, 0x05, 0, 200); /* itself */
    int count = find();
    assert_true(count > 0 && count <= BLX_MAX_PARTITIONS);
    assert_true(image.reads < 1000);
    for (int i = 1; i < count; i++) /* no two have one name */
        assert_true(found[i - 1].number < found[i].number);
}

/* As the kernel does, which /etc/fstab was written for. */
static void a_link_without_a_partition_takes_no_number(void **state)
{
    (void)state;
    put_dos(0, 0, 0x05, 1000, 2000);
    put_dos(1000, 1, 0x05, 100, 200); /* its partition was deleted */
    put_dos(1100, 0, 0x83, 2, 98);
    put_dos(1100, 1, 0x05, 300, 200);
    put_dos(1300, 0, 0x83, 2, SECTORS); /* beyond the disk */
    put_dos(1300, 1, 0x05, 400, 200);
    put_dos(1400, 0, 0x83, 2, 98);
    put_dos(0, 1, 0x05, 3000, 500);
    put_dos(3000, 0, 0x83, 2, 10);
    assert_int_equal(find(), 3);
    check(0, 5, 1102, 98);
    check(1, 7, 1402, 98);
    check(2, 8, 3002, 10);
}

static void hostile_numbers_are_left_out(void **state)
{
    (void)state;
    put_dos(0, 0, 0x83, UINT32_MAX, UINT32_MAX);
    put_dos(0, 1, 0x83, 0, 10);
    put_dos(0, 2, 0x05, UINT32_MAX, 1);
    assert_int_equal(find(), 0);
    put_dos(0, 3, 0xee, 1, 1);
    put_gpt(1, UINT32_MAX, UINT32_MAX);
    assert_int_equal(find(), 0);
    put_gpt(1, SECTORS - 1, UINT32_MAX);
    assert_true(find() >= 0);
    assert_true(image.reads < 1000);
}

/* Whatever the table holds, what is found lies inside the disk. */
static void random_tables_stay_inside(void **state)
{
    unsigned seed = 7;
    (void)state;
    for (int turn = 0; turn < 2000; turn++) {
        for (size_t i = 0; i < 4096; i++)
            image.bytes[i] = (uint8_t)(rand_r(&seed) % 3 == 0 ? rand_r(&seed) : 0);
        for (unsigned i = 0; i < 4; i++)
            image.bytes[446 + 16 * i] = 0;
        put_dos(0, 0, turn % 2 == 0 ? 0xee : 0x05, (uint32_t)rand_r(&seed) % SECTORS, 100);
        put_gpt(1, (uint32_t)rand_r(&seed) % 8, (uint32_t)rand_r(&seed));
        int count = find();
        assert_true(count >= 0 && count <= BLX_MAX_PARTITIONS);
        for (int i = 0; i < count; i++) {
            assert_true(found[i].offset_bytes > 0 && found[i].bytes > 0);
            assert_true(found[i].bytes <= BYTES - found[i].offset_bytes);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_disk_without_a_table_has_none, setup),
        cmocka_unit_test_setup(a_gpt_is_read, setup),
        cmocka_unit_test_setup(a_partition_is_named_as_the_kernel_names_it, setup),
        cmocka_unit_test_setup(the_second_copy_of_a_gpt_helps, setup),
        cmocka_unit_test_setup(a_dos_table_is_read, setup),
        cmocka_unit_test_setup(a_chain_of_logical_partitions_that_turns_in_a_circle_ends, setup),
        cmocka_unit_test_setup(a_link_without_a_partition_takes_no_number, setup),
        cmocka_unit_test_setup(hostile_numbers_are_left_out, setup),
        cmocka_unit_test_setup(random_tables_stay_inside, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
