/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/disk/device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/disk/sysfs.h"
#include "disk.h"

enum { MIB = 1 << 20 };

static struct blx_error err;

static void ok(int r)
{
    if (r < 0)
        fail_msg("%d: %s", r, err.message);
}

static void expect_refused(const char *path, int code, const char *hint)
{
    struct agent_device device = {.size_bytes = 7};
    blx_error_clear(&err);
    assert_int_equal(agent_device_find(path, &device, &err), code);
    assert_non_null(strstr(err.message, path));
    assert_non_null(strstr(err.message, hint));
    assert_int_equal(device.size_bytes, code == -ENOMEDIUM ? 0 : 7); /* untouched */
}

static void device_that_cannot_be_used_is_refused_by_name(void **state)
{
    (void)state;
    struct disk disk;
    expect_refused("/dev/no-such-disk", -ENOENT, "lsblk");
    expect_refused("/dev/null", -ENOTBLK, "block device");
    expect_refused("/mnt", -ENOTBLK, "block device");
    assert_int_equal(mkfifo("/mnt/fifo", 0600), 0);
    expect_refused("/mnt/fifo", -ENOTBLK, "block device");
    /* A loop device without a file. */
    disk_loop(&disk, MIB, 301);
    assert_int_equal(ioctl(disk.fd, LOOP_CLR_FD), 0);
    close(disk.fd);
    disk.fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    expect_refused(disk.path, -ENOMEDIUM, "medium");
    disk_done(&disk);
}

static void device_of_a_loop_device_is_described(void **state)
{
    (void)state;
    struct disk disk;
    struct agent_device device;
    disk_loop(&disk, 5 * MIB + 512, -1);
    ok(agent_device_find(disk.path, &device, &err));
    assert_string_equal(device.path, disk.path);
    assert_string_equal(device.name, disk.name);
    assert_string_equal(device.kernel_name, disk.name);
    assert_string_equal(device.disk_name, disk.name);
    assert_int_equal(device.size_bytes, 5 * MIB + 512);
    assert_int_equal(device.disk_start_bytes, 0);
    assert_int_equal(device.logical_block_bytes, 512);
    assert_false(device.bio_based);
    assert_int_equal(agent_device_count_writes(&device), 0);
    assert_null(agent_device_find_change(&device));
    disk_done(&disk);
}

static void device_of_zram_is_bio_based(void **state)
{
    (void)state;
    struct disk disk;
    struct agent_device device;
    disk_zram(&disk, 8 * MIB);
    ok(agent_device_find(disk.path, &device, &err));
    assert_true(device.bio_based);
    assert_int_equal(device.logical_block_bytes, 4096);
    assert_int_equal(agent_device_count_writes(&device), 0);
    disk_done(&disk);
}

static void device_is_found_through_a_link(void **state)
{
    (void)state;
    struct disk disk;
    struct agent_device device;
    disk_loop(&disk, MIB, -1);
    assert_int_equal(symlink(disk.path, "/mnt/link"), 0);
    ok(agent_device_find("/mnt/link", &device, &err));
    assert_string_equal(device.kernel_name, disk.name);
    assert_string_equal(device.path, "/mnt/link");
    disk_done(&disk);
}

static void device_that_got_another_medium_has_changed(void **state)
{
    (void)state;
    struct disk disk;
    struct agent_device device;
    disk_loop(&disk, MIB, 302);
    ok(agent_device_find(disk.path, &device, &err));
    disk_loop_swap(&disk, MIB);
    assert_non_null(strstr(agent_device_find_change(&device), "resized or replaced"));
    disk_done(&disk);
}

static ssize_t read_first_block(const struct agent_device *device)
{
    uint8_t block[4096];
    return agent_device_read(device, block, sizeof(block), 0);
}

/* Its number and its name are the same: diskseq tells. */
static void another_medium_is_not_read(void **state)
{
    (void)state;
    struct disk disk;
    struct agent_device device, swapped;
    disk_loop(&disk, MIB, 303);
    ok(agent_device_find(disk.path, &device, &err));
    assert_int_equal(read_first_block(&device), 4096);
    disk_loop_swap(&disk, MIB);
    ok(agent_device_find(disk.path, &swapped, &err));
    assert_int_equal(swapped.major, device.major);
    assert_int_equal(swapped.minor, device.minor);
    assert_int_equal(read_first_block(&device), -ESTALE);
    assert_int_equal(read_first_block(&swapped), 4096);
    disk_done(&disk);
}

/* The kernel lets go of a loop device's file when the last descriptor of it is closed. */
static bool is_attached(const struct disk *disk)
{
    char path[96];
    snprintf(path, sizeof(path), "/sys/block/%s/loop", disk->name);
    return access(path, F_OK) == 0;
}

/* The device is free a moment after it was read: nothing holds it between two calls. */
static void nobody_holds_a_device_that_is_idle(void **state)
{
    (void)state;
    struct disk disk;
    struct agent_device device;
    disk_loop(&disk, MIB, -1);
    ok(agent_device_find(disk.path, &device, &err));
    assert_int_equal(read_first_block(&device), 4096);
    disk_done(&disk);
    for (unsigned ms = 0; is_attached(&disk) && ms < 10 * 1000; ms += 10)
        usleep(10 * 1000);
    assert_false(is_attached(&disk));
    assert_non_null(strstr(agent_device_find_change(&device), "is gone"));
}

/* Reading some of sysfs waits for the disk: that is a helper's part, too. Here only helpers have
 * it, which still see the mounts of before. */
static void sysfs_is_asked_by_a_helper(void **state)
{
    (void)state;
    struct disk disk;
    struct agent_device device;
    uint64_t iostats = 7;
    disk_loop(&disk, MIB, -1);
    agent_patience_stop();
    ok(agent_patience_start());
    assert_int_equal(unshare(CLONE_NEWNS), 0);
    assert_int_equal(mount("tmpfs", "/sys", "tmpfs", 0, "mode=0700"), 0);
    ok(agent_device_find(disk.path, &device, &err));
    assert_string_equal(device.kernel_name, disk.name);
    ok(agent_sysfs_ask_queue(&iostats, disk.name, "iostats"));
    assert_in_range(iostats, 0, 1);
    assert_int_equal(umount("/sys"), 0);
    disk_done(&disk);
}

static void device_without_a_size_is_gone(void **state)
{
    (void)state;
    struct disk disk;
    struct agent_device device;
    struct loop_info64 info = {0};
    disk_loop(&disk, MIB, -1);
    ok(agent_device_find(disk.path, &device, &err));
    assert_int_equal(ioctl(disk.fd, LOOP_GET_STATUS64, &info), 0);
    info.lo_offset = 2 * MIB; /* what has lost its medium has no size */
    assert_int_equal(ioctl(disk.fd, LOOP_SET_STATUS64, &info), 0);
    assert_non_null(strstr(agent_device_find_change(&device), "is gone"));
    disk_done(&disk);
}

static void device_that_grew_has_changed(void **state)
{
    (void)state;
    struct disk disk;
    struct agent_device device;
    disk_loop(&disk, MIB, -1);
    ok(agent_device_find(disk.path, &device, &err));
    assert_null(agent_device_find_change(&device));
    device.size_bytes -= 512;
    assert_non_null(strstr(agent_device_find_change(&device), "resized or replaced"));
    disk_done(&disk);
}

static void device_of_a_partition_knows_its_disk(void **state)
{
    (void)state;
    struct disk disk;
    struct agent_device device;
    char path[64];
    disk_loop(&disk, 16 * MIB, -1);
    disk_shell("printf '2049,2048\\n' | sfdisk -q --no-reread %s 2>/dev/null && partx -a %s",
               disk.path, disk.path);
    snprintf(path, sizeof(path), "%sp1", disk.path);
    ok(agent_device_find(path, &device, &err));
    assert_string_equal(device.disk_name, disk.name);
    assert_string_equal(device.kernel_name, path + strlen("/dev/"));
    assert_int_equal(device.disk_start_bytes, 2049 * 512);
    assert_int_equal(device.size_bytes, MIB);
    assert_true(device.major != device.disk_major || device.minor != device.disk_minor);
    assert_null(agent_device_find_change(&device));
    /* The same name for another range. */
    disk_unpartition(&disk);
    disk_shell("printf '4096,2048\\n' | sfdisk -q --no-reread %s 2>/dev/null; partx -a %s",
               disk.path, disk.path);
    struct agent_device moved;
    ok(agent_device_find(path, &moved, &err));
    /* Replaced, or gone if the kernel has given the new one another number. */
    assert_non_null(agent_device_find_change(&device));
    assert_null(agent_device_find_change(&moved));
    disk_unpartition(&disk);
    disk_done(&disk);
}

int main(void)
{
    disk_world_enter();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(device_that_cannot_be_used_is_refused_by_name),
        cmocka_unit_test(device_of_a_loop_device_is_described),
        cmocka_unit_test(device_of_zram_is_bio_based),
        cmocka_unit_test(device_is_found_through_a_link),
        cmocka_unit_test(device_that_got_another_medium_has_changed),
        cmocka_unit_test(another_medium_is_not_read),
        cmocka_unit_test(nobody_holds_a_device_that_is_idle),
        cmocka_unit_test(sysfs_is_asked_by_a_helper),
        cmocka_unit_test(device_that_grew_has_changed),
        cmocka_unit_test(device_without_a_size_is_gone),
        cmocka_unit_test(device_of_a_partition_knows_its_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
