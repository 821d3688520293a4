/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/disk/signature.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "disk.h"

enum { MIB = 1 << 20, BYTES = 320 * MIB }; /* as much as mkfs.xfs wants */

static struct disk disk;

static int setup(void **state)
{
    (void)state;
    disk_loop(&disk, BYTES, -1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    disk_done(&disk);
    return 0;
}

static void read_signature(char text[BLX_TEXT_BYTES])
{
    char path[64];
    struct agent_device device;
    struct blx_error err = {0};
    snprintf(path, sizeof(path), "/dev/%s", disk.name);
    if (agent_device_find(path, &device, &err) < 0)
        fail_msg("%s", err.message);
    agent_signature_read(&device, text);
}

static void expect(const char *wanted)
{
    char text[BLX_TEXT_BYTES];
    read_signature(text);
    assert_string_equal(text, wanted);
}

static void a_disk_without_anything_has_none(void **state)
{
    (void)state;
    expect("");
    disk_write(&disk, 0, MIB);
    expect("");
}

static void filesystems_have_their_uuid(void **state)
{
    (void)state;
    disk_shell("mkfs.ext4 -q -F -U 01234567-89ab-4def-8123-456789abcdef /dev/%s 8M", disk.name);
    expect("content:ext:0123456789ab4def8123456789abcdef");
    disk_shell("mkfs.xfs -q -f -m uuid=11234567-89ab-4def-8123-456789abcdef /dev/%s", disk.name);
    expect("content:xfs:1123456789ab4def8123456789abcdef");
    disk_shell("mkfs.btrfs -q -f -U 21234567-89ab-4def-8123-456789abcdef /dev/%s", disk.name);
    expect("content:btrfs:2123456789ab4def8123456789abcdef");
}

static void partition_tables_have_their_id(void **state)
{
    (void)state;
    disk_shell("printf 'label: dos\\nlabel-id: 0x12345678\\nsize=1MiB\\n' | "
               "sfdisk --quiet --no-reread --no-tell-kernel -W always -w always /dev/%s",
               disk.name);
    expect("content:mbr:78563412");
    disk_shell("printf 'label: gpt\\nlabel-id: 01234567-89ab-4def-8123-456789abcdef\\n"
               "size=1MiB\\n' | "
               "sfdisk --quiet --no-reread --no-tell-kernel -W always -w always /dev/%s",
               disk.name);
    expect("content:gpt:67452301ab89ef4d8123456789abcdef");
}

static void swap_space_has_its_uuid(void **state)
{
    (void)state;
    disk_shell("wipefs -qa /dev/%s && mkswap -q -U 31234567-89ab-4def-8123-456789abcdef /dev/%s",
               disk.name, disk.name);
    expect("content:swap:3123456789ab4def8123456789abcdef");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_disk_without_anything_has_none),
        TEST(filesystems_have_their_uuid),
        TEST(partition_tables_have_their_id),
        TEST(swap_space_has_its_uuid),
    };
    disk_world_enter();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
