/* SPDX-License-Identifier: Apache-2.0 */
/* The order of a server's disks, and how it boots. */
#include "boot/checkpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/text.h"

static void disks_come_in_the_kernels_order(void **state)
{
    (void)state;
    static const char *const ordered[] = {"nvme0n1", "nvme0n2", "nvme2n1", "nvme10n1", "sda", "sdb",
                                          "sdz",     "sdaa",    "sdab",    "vda",      "vdb"};
    enum { COUNT = sizeof(ordered) / sizeof(ordered[0]) };
    struct boot_disk disks[COUNT] = {0};
    for (size_t i = 0; i < COUNT; i++)
        blx_text_set(disks[i].name, ordered[(i * 7 + 3) % COUNT]);
    qsort(disks, COUNT, sizeof(disks[0]), boot_disk_compare);
    for (size_t i = 0; i < COUNT; i++)
        for (size_t j = 0; j < COUNT; j++) {
            int order = boot_disk_compare(&disks[i], &disks[j]);
            assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
        }
    /* Of one kind the kernel's order; the kinds among themselves have any. */
    size_t at = 0;
    for (size_t i = 0; i < COUNT; i++)
        if (disks[i].name[0] == 'n')
            assert_string_equal(disks[i].name, ordered[at++]);
}

static void the_bios_is_preferred(void **state)
{
    (void)state;
    assert_int_equal(boot_firmware_of(BOOT_LOADER_BIOS), BOOT_FIRMWARE_BIOS);
    assert_int_equal(boot_firmware_of(BOOT_LOADER_BIOS | BOOT_LOADER_UEFI), BOOT_FIRMWARE_BIOS);
    assert_int_equal(boot_firmware_of(BOOT_LOADER_UEFI), BOOT_FIRMWARE_UEFI);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(disks_come_in_the_kernels_order),
        cmocka_unit_test(the_bios_is_preferred),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
