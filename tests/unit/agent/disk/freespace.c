/* SPDX-License-Identifier: Apache-2.0 */
/* What is called free must not be used: a copy without it must be a whole filesystem. */
#include "agent/disk/freespace.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bitmap.h"
#include "base/io.h"
#include "disk.h"

enum { BLOCK_SHIFT = 12, BLOCK = 1 << BLOCK_SHIFT, MIB = 1 << 20 };

static struct blx_error err;

static void ok(int r)
{
    if (r < 0)
        fail_msg("%d: %s", r, err.message);
}

/* All blocks of the device but the free ones; to be freed. */
static uint64_t *wanted_blocks(const struct agent_device *device, uint64_t *skipped)
{
    struct agent_mounts mounts;
    uint64_t blocks = (device->size_bytes + BLOCK - 1) / BLOCK;
    uint64_t *wanted = calloc(blx_bitmap_words(blocks), sizeof(*wanted));
    assert_non_null(wanted);
    blx_bitmap_set(wanted, (struct blx_extent){0, blocks});
    ok(agent_mounts_find(device, 1, &mounts, &err));
    ok(agent_freespace_exclude(device, &mounts, BLOCK_SHIFT, wanted, skipped, &err));
    assert_int_equal(blx_bitmap_count(wanted, blocks), blocks - *skipped);
    agent_mounts_done(&mounts);
    return wanted;
}

/* Overwrites what is free with rubbish, so that using it would be found. */
static void spoil(const struct disk *disk, const uint64_t *wanted)
{
    uint64_t end = 0;
    for (uint64_t b = 0; b < disk->bytes / BLOCK; b = end + 1) {
        for (end = b; end < disk->bytes / BLOCK && !blx_bitmap_test(wanted, end);)
            end++;
        if (end > b)
            disk_write(disk, b * BLOCK, (end - b) * BLOCK);
    }
}

static void check(const char *mkfs, const char *fsck, uint64_t bytes)
{
    struct disk disk;
    struct agent_device device;
    uint64_t skipped = 0;
    disk_loop(&disk, bytes, -1);
    ok(agent_device_find(disk.path, &device, &err));
    disk_shell("%s %s && mkdir -p /mnt/fs && mount %s /mnt/fs", mkfs, disk.path, disk.path);
    disk_shell(
        "cp -r /usr/include/linux /mnt/fs/a && cp -r /mnt/fs/a /mnt/fs/b && sync && "
        "rm -r /mnt/fs/a && sync && (cd /mnt/fs/b && find . -type f | sort | xargs cat | cksum) "
        "> /mnt/sum");
    uint64_t *wanted = wanted_blocks(&device, &skipped);
    assert_true(skipped * BLOCK > bytes / 2);
    disk_shell("umount /mnt/fs");
    spoil(&disk, wanted);
    disk_shell("%s %s >/dev/null 2>&1 && mount %s /mnt/fs", fsck, disk.path, disk.path);
    disk_shell("(cd /mnt/fs/b && find . -type f | sort | xargs cat | cksum) | cmp - /mnt/sum");
    disk_shell("umount /mnt/fs");
    free(wanted);
    disk_done(&disk);
}

static void freespace_of_ext4_is_not_in_use(void **state)
{
    (void)state;
    check("mkfs.ext4 -q -F", "e2fsck -fn", 128 * MIB);
}

static void freespace_of_ext4_with_small_blocks_is_rounded_inward(void **state)
{
    (void)state;
    check("mkfs.ext4 -q -F -b 1024", "e2fsck -fn", 128 * MIB + 3 * 1024);
}

static void freespace_of_xfs_is_not_in_use(void **state)
{
    (void)state;
    check("mkfs.xfs -q -f", "xfs_repair -n", 320 * MIB);
}

static void freespace_of_others_is_left_as_it_is(void **state)
{
    (void)state;
    struct disk disk;
    struct agent_device device;
    uint64_t skipped = 1;
    disk_loop(&disk, 128 * MIB, -1);
    ok(agent_device_find(disk.path, &device, &err));
    disk_shell("mkfs.btrfs -q %s && mkdir -p /mnt/fs && mount %s /mnt/fs", disk.path, disk.path);
    free(wanted_blocks(&device, &skipped));
    assert_int_equal(skipped, 0);
    disk_shell("umount /mnt/fs");
    disk_done(&disk);
}

static void freespace_of_a_partition_is_found_on_the_whole_disk(void **state)
{
    (void)state;
    struct disk disk;
    struct agent_device device;
    uint64_t skipped = 0;
    disk_loop(&disk, 128 * MIB, -1);
    disk_shell("printf '40961,204800\\n' | sfdisk -q --no-reread %s 2>/dev/null && partx -a %s && "
               "mkfs.ext4 -q -F %sp1 && mkdir -p /mnt/fs && mount %sp1 /mnt/fs",
               disk.path, disk.path, disk.path, disk.path);
    ok(agent_device_find(disk.path, &device, &err));
    uint64_t *wanted = wanted_blocks(&device, &skipped);
    /* Nothing outside of the partition, which begins one sector after a block. */
    assert_true(skipped * BLOCK > 50 * MIB);
    for (uint64_t b = 0; b <= 40961 / 8; b++)
        assert_true(blx_bitmap_test(wanted, b));
    for (uint64_t b = (40961 + 204800) / 8; b < disk.bytes / BLOCK; b++)
        assert_true(blx_bitmap_test(wanted, b));
    disk_shell("umount /mnt/fs");
    spoil(&disk, wanted);
    disk_shell("e2fsck -fn %sp1 >/dev/null 2>&1", disk.path);
    disk_unpartition(&disk);
    free(wanted);
    disk_done(&disk);
}

int main(void)
{
    disk_world_enter();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(freespace_of_ext4_is_not_in_use),
        cmocka_unit_test(freespace_of_ext4_with_small_blocks_is_rounded_inward),
        cmocka_unit_test(freespace_of_xfs_is_not_in_use),
        cmocka_unit_test(freespace_of_others_is_left_as_it_is),
        cmocka_unit_test(freespace_of_a_partition_is_found_on_the_whole_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
