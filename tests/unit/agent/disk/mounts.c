/* SPDX-License-Identifier: Apache-2.0 */
/* Real mounts in a mount namespace of the test's own. */
#include "agent/disk/mounts.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "disk.h"

enum { MIB = 1 << 20 };

static struct blx_error err;

static void ok(int r)
{
    if (r < 0)
        fail_msg("%d: %s", r, err.message);
}

struct rig {
    struct disk disk;
    struct agent_device device;
};

static void rig_make(struct rig *rig, const char *mkfs, uint64_t bytes)
{
    disk_loop(&rig->disk, bytes, -1);
    disk_shell("%s %s >/dev/null", mkfs, rig->disk.path);
    ok(agent_device_open(rig->disk.path, &rig->device, &err));
}

static void rig_done(struct rig *rig)
{
    agent_device_close(&rig->device);
    disk_done(&rig->disk);
}

/* The mount points that are found, with a blank after each. */
static void expect_found(const struct rig *rig, const char *expected)
{
    struct agent_mounts mounts;
    char text[1024] = "";
    ok(agent_mounts_find(&rig->device, 1, &mounts, &err));
    for (size_t i = 0; i < mounts.count; i++) {
        strcat(text, mounts.mounts[i].mount_point);
        strcat(text, " ");
        assert_true(mounts.mounts[i].fd >= 0);
    }
    ok(agent_mounts_sync(&mounts, &err));
    agent_mounts_done(&mounts);
    assert_string_equal(text, expected);
}

static void mounts_of_one_filesystem_count_once(void **state)
{
    (void)state;
    struct rig rig;
    rig_make(&rig, "mkfs.ext4 -q -F", 32 * MIB);
    expect_found(&rig, "");
    disk_shell("mkdir -p /mnt/a /mnt/b && mount %s /mnt/a && mkdir /mnt/a/sub", rig.disk.path);
    disk_shell("mount --bind /mnt/a/sub /mnt/b");
    expect_found(&rig, "/mnt/a ");
    disk_shell("umount /mnt/b && umount /mnt/a");
    expect_found(&rig, "");
    rig_done(&rig);
}

static void mounts_that_are_covered_are_found_by_another_way(void **state)
{
    (void)state;
    struct rig rig;
    rig_make(&rig, "mkfs.ext4 -q -F", 32 * MIB);
    disk_shell("mkdir -p /mnt/a /mnt/b && mount %s /mnt/a && mount -t tmpfs none /mnt/a",
               rig.disk.path);
    expect_found(&rig, "");
    disk_shell("umount /mnt/a && mount --bind /mnt/a /mnt/b && mount -t tmpfs none /mnt/a");
    expect_found(&rig, "/mnt/b ");
    disk_shell("umount /mnt/a && umount /mnt/a && umount /mnt/b");
    rig_done(&rig);
}

static void mounts_that_are_read_only_are_left_out(void **state)
{
    (void)state;
    struct rig rig;
    rig_make(&rig, "mkfs.ext4 -q -F", 32 * MIB);
    disk_shell("mkdir -p /mnt/a && mount -o ro %s /mnt/a", rig.disk.path);
    expect_found(&rig, "");
    /* A filesystem that is written elsewhere, seen here through a read-only mount, can change. */
    disk_shell("mount -o remount,rw /mnt/a && mount -o remount,bind,ro /mnt/a");
    expect_found(&rig, "/mnt/a ");
    disk_shell("umount /mnt/a");
    rig_done(&rig);
}

static void mount_points_with_blanks_are_found(void **state)
{
    (void)state;
    struct rig rig;
    rig_make(&rig, "mkfs.ext4 -q -F", 32 * MIB);
    disk_shell("mkdir -p '/mnt/a b\\c' && mount %s '/mnt/a b\\c'", rig.disk.path);
    expect_found(&rig, "/mnt/a b\\c ");
    disk_shell("umount '/mnt/a b\\c'");
    rig_done(&rig);
}

static void mounts_of_btrfs_are_found_through_its_devices(void **state)
{
    (void)state;
    struct rig rig, other;
    rig_make(&rig, "mkfs.btrfs -q", 128 * MIB);
    rig_make(&other, "mkfs.ext4 -q -F", 32 * MIB);
    disk_shell("mkdir -p /mnt/a /mnt/b && mount %s /mnt/a && btrfs -q subvolume create /mnt/a/s",
               rig.disk.path);
    disk_shell("mount -o subvol=s %s /mnt/b", rig.disk.path);
    expect_found(&rig, "/mnt/a ");
    expect_found(&other, "");
    disk_shell("umount /mnt/b && umount /mnt/a");
    rig_done(&other);
    rig_done(&rig);
}

static void mounts_of_partitions_lie_on_the_disk_and_not_on_each_other(void **state)
{
    (void)state;
    struct rig rig = {.device.fd = -1}, part = {.device.fd = -1};
    char path[64];
    uint64_t start = 0;
    disk_loop(&rig.disk, 64 * MIB, -1);
    disk_shell("printf '2048,40960\\n43008,40960\\n' | sfdisk -q --no-reread %s 2>/dev/null && "
               "partx -a %s && mkfs.ext4 -q -F %sp2",
               rig.disk.path, rig.disk.path, rig.disk.path);
    disk_shell("mkdir -p /mnt/a && mount %sp2 /mnt/a", rig.disk.path);
    ok(agent_device_open(rig.disk.path, &rig.device, &err));
    expect_found(&rig, "/mnt/a ");
    snprintf(path, sizeof(path), "%sp1", rig.disk.path);
    ok(agent_device_open(path, &part.device, &err));
    expect_found(&part, "");
    agent_device_close(&part.device);
    snprintf(path, sizeof(path), "%sp2", rig.disk.path);
    ok(agent_device_open(path, &part.device, &err));
    expect_found(&part, "/mnt/a ");
    assert_true(agent_device_carries(&rig.device, part.device.major, part.device.minor, &start));
    assert_int_equal(start, 43008 * 512);
    assert_false(agent_device_carries(&part.device, rig.device.major, rig.device.minor, &start));
    agent_device_close(&part.device);
    disk_shell("umount /mnt/a && partx -d %s", rig.disk.path);
    rig_done(&rig);
}

static void filesystem_in_a_file_lies_on_the_volume_of_the_file(void **state)
{
    (void)state;
    struct rig rig;
    rig_make(&rig, "mkfs.ext4 -q -F", 64 * MIB);
    disk_shell("mkdir -p /mnt/a /mnt/b && mount %s /mnt/a && truncate -s 16M /mnt/a/image && "
               "mkfs.ext4 -q -F /mnt/a/image && mount -o loop /mnt/a/image /mnt/b",
               rig.disk.path);
    expect_found(&rig, "/mnt/a /mnt/b ");
    disk_shell("umount /mnt/b && umount /mnt/a");
    rig_done(&rig);
}

int main(void)
{
    disk_world_enter();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mounts_of_one_filesystem_count_once),
        cmocka_unit_test(mounts_that_are_covered_are_found_by_another_way),
        cmocka_unit_test(mounts_that_are_read_only_are_left_out),
        cmocka_unit_test(mount_points_with_blanks_are_found),
        cmocka_unit_test(mounts_of_btrfs_are_found_through_its_devices),
        cmocka_unit_test(mounts_of_partitions_lie_on_the_disk_and_not_on_each_other),
        cmocka_unit_test(filesystem_in_a_file_lies_on_the_volume_of_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
