/* SPDX-License-Identifier: Apache-2.0 */
/* Which boot loaders a disk has: the BIOS's code, UEFI's partition, both, none. */
#include "boot/loader.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { SECTOR = 512, SECTORS = 256, ENTRIES_SECTOR = 2 };

static const uint8_t esp[16] = {0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11,
                                0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b};
static const uint8_t bios_boot[16] = "Hah!IdontNeedEFI";
static const uint8_t other[16] = {0xaf};

static uint8_t image[SECTORS * SECTOR];

static int read_image(void *arg, void *buffer, size_t bytes, uint64_t offset_bytes)
{
    (void)arg;
    assert_true(offset_bytes <= sizeof(image) && bytes <= sizeof(image) - offset_bytes);
    memcpy(buffer, image + offset_bytes, bytes);
    return 0;
}

static unsigned find(void)
{
    const struct blx_partitioned disk = {.read = read_image, .size_bytes = sizeof(image)};
    unsigned loaders = 77;
    assert_int_equal(boot_loader_find(&disk, &loaders), 0);
    return loaders;
}

static void clear(void)
{
    memset(image, 0, sizeof(image));
    image[510] = 0x55;
    image[511] = 0xaa;
}

static void put_code(void)
{
    image[0] = 0xeb;
    image[439] = 0x90;
}

static void put_dos(uint8_t type)
{
    image[446 + 4] = type;
    image[446 + 8] = 64;
    image[446 + 12] = 64;
}

static void put_gpt(const uint8_t *first, const uint8_t *second)
{
    const uint8_t *types[] = {first, second};
    put_dos(0xee);
    uint8_t *header = image + SECTOR;
    memcpy(header, "EFI PART", 8);
    header[72] = ENTRIES_SECTOR;
    header[80] = 2;
    header[84] = 128;
    for (int i = 0; i < 2; i++) {
        uint8_t *entry = image + ENTRIES_SECTOR * SECTOR + 128 * i;
        memcpy(entry, types[i], 16);
        entry[32] = (uint8_t)(64 + 16 * i);
        entry[40] = (uint8_t)(64 + 16 * i + 15);
    }
}

static void an_empty_disk_has_none(void **state)
{
    (void)state;
    memset(image, 0, sizeof(image));
    assert_int_equal(find(), BOOT_LOADER_NONE);
    put_code(); /* without the mark no BIOS starts it */
    assert_int_equal(find(), BOOT_LOADER_NONE);
    clear();
    put_dos(0x83);
    assert_int_equal(find(), BOOT_LOADER_NONE);
}

static void code_is_the_bioss(void **state)
{
    (void)state;
    clear();
    put_code();
    assert_int_equal(find(), BOOT_LOADER_BIOS);
    put_dos(0x83);
    assert_int_equal(find(), BOOT_LOADER_BIOS);
    put_gpt(bios_boot, other);
    assert_int_equal(find(), BOOT_LOADER_BIOS);
    put_gpt(other, other); /* extlinux needs no partition for its rest */
    assert_int_equal(find(), BOOT_LOADER_BIOS);
}

static void an_efi_system_partition_is_uefis(void **state)
{
    (void)state;
    clear();
    put_gpt(other, esp);
    assert_int_equal(find(), BOOT_LOADER_UEFI);
    put_code(); /* some tool's, which starts nothing */
    assert_int_equal(find(), BOOT_LOADER_UEFI);
    clear();
    put_dos(0xef);
    assert_int_equal(find(), BOOT_LOADER_UEFI);
}

static void a_disk_can_have_both(void **state)
{
    (void)state;
    clear();
    put_code();
    put_gpt(bios_boot, esp);
    assert_int_equal(find(), BOOT_LOADER_BIOS | BOOT_LOADER_UEFI);
}

static int fail_to_read(void *arg, void *buffer, size_t bytes, uint64_t offset_bytes)
{
    (void)arg;
    (void)buffer;
    (void)bytes;
    return offset_bytes == 0 ? -EIO : 0;
}

static void an_unreadable_or_tiny_disk_is_told(void **state)
{
    (void)state;
    unsigned loaders;
    const struct blx_partitioned disk = {.read = fail_to_read, .size_bytes = sizeof(image)};
    const struct blx_partitioned tiny = {.read = fail_to_read, .size_bytes = SECTOR - 1};
    assert_int_equal(boot_loader_find(&disk, &loaders), -EIO);
    assert_int_equal(boot_loader_find(&tiny, &loaders), 0);
    assert_int_equal(loaders, BOOT_LOADER_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_disk_has_none),
        cmocka_unit_test(code_is_the_bioss),
        cmocka_unit_test(an_efi_system_partition_is_uefis),
        cmocka_unit_test(a_disk_can_have_both),
        cmocka_unit_test(an_unreadable_or_tiny_disk_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
