/* SPDX-License-Identifier: Apache-2.0 */
/* Real mounts in a mount namespace of the test's own. */
#include "agent/disk/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
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
    ok(agent_device_find(rig->disk.path, &rig->device, &err));
}

static void rig_done(struct rig *rig)
{
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

/* The doubts that are found, with "; " after each. */
static void expect_doubts(const struct agent_device *devices, size_t count, const char *expected)
{
    struct agent_mounts mounts;
    char text[2048] = "";
    ok(agent_mounts_find(devices, count, &mounts, &err));
    for (size_t i = 0; i < mounts.doubt_count; i++) {
        strcat(text, mounts.doubts[i].text);
        strcat(text, "; ");
    }
    agent_mounts_done(&mounts);
    assert_string_equal(text, expected);
}

static void expect_hidden(const struct rig *rig, const char *type)
{
    char text[256];
    snprintf(
        text, sizeof(text),
        "the %s on '%s' is mounted where the agent does not see it (another mount namespace, a "
        "covered mount, umount -l); ",
        type, rig->disk.path);
    expect_doubts(&rig->device, 1, text);
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
    expect_doubts(&rig.device, 1, "'/mnt/a' is covered by another mount; ");
    disk_shell("umount /mnt/a && mount --bind /mnt/a /mnt/b && mount -t tmpfs none /mnt/a");
    expect_found(&rig, "/mnt/b ");
    expect_doubts(&rig.device, 1, "");
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
    expect_doubts(&rig.device, 1, "");
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
    struct rig rig = {0}, part = {0};
    char path[64];
    uint64_t start = 0;
    disk_loop(&rig.disk, 64 * MIB, -1);
    disk_shell("printf '2048,40960\\n43008,40960\\n' | sfdisk -q --no-reread %s 2>/dev/null && "
               "partx -a %s && mkfs.ext4 -q -F %sp2",
               rig.disk.path, rig.disk.path, rig.disk.path);
    disk_shell("mkdir -p /mnt/a && mount %sp2 /mnt/a", rig.disk.path);
    ok(agent_device_find(rig.disk.path, &rig.device, &err));
    expect_found(&rig, "/mnt/a ");
    snprintf(path, sizeof(path), "%sp1", rig.disk.path);
    ok(agent_device_find(path, &part.device, &err));
    expect_found(&part, "");
    snprintf(path, sizeof(path), "%sp2", rig.disk.path);
    ok(agent_device_find(path, &part.device, &err));
    expect_found(&part, "/mnt/a ");
    assert_true(agent_device_carries(&rig.device, part.device.major, part.device.minor, &start));
    assert_int_equal(start, 43008 * 512);
    assert_false(agent_device_carries(&part.device, rig.device.major, rig.device.minor, &start));
    disk_shell("umount /mnt/a");
    disk_unpartition(&rig.disk);
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

/* As the service has it: it may look everywhere, and own nothing. */
static void drop_right(int right)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    assert_int_equal(syscall(SYS_capget, &header, data), 0);
    data[CAP_TO_INDEX(right)].effective &= ~CAP_TO_MASK(right);
    assert_int_equal(syscall(SYS_capset, &header, data), 0);
    agent_patience_stop(); /* helpers have the rights of their start */
}

static void take_rights_back(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    assert_int_equal(syscall(SYS_capget, &header, data), 0);
    for (int i = 0; i < 2; i++)
        data[i].effective = data[i].permitted;
    assert_int_equal(syscall(SYS_capset, &header, data), 0);
    agent_patience_stop(); /* helpers have the rights of their start */
}

static void mount_points_of_other_users_need_no_right_to_own_them(void **state)
{
    (void)state;
    struct rig rig;
    rig_make(&rig, "mkfs.ext4 -q -F", 32 * MIB);
    disk_shell("mkdir -p /mnt/a && mount %s /mnt/a && chown 4711 /mnt/a && chmod 700 /mnt/a",
               rig.disk.path);
    drop_right(CAP_FOWNER);
    expect_found(&rig, "/mnt/a ");
    expect_doubts(&rig.device, 1, "");
    take_rights_back();
    disk_shell("umount /mnt/a");
    rig_done(&rig);
}

static void mount_points_that_cannot_be_opened_are_doubts(void **state)
{
    (void)state;
    struct rig rig;
    struct rlimit before, none = {.rlim_cur = 0};
    rig_make(&rig, "mkfs.ext4 -q -F", 32 * MIB);
    disk_shell("mkdir -p /mnt/a && mount %s /mnt/a && chown 4711 /mnt/a && chmod 700 /mnt/a",
               rig.disk.path);
    drop_right(CAP_DAC_READ_SEARCH);
    drop_right(CAP_DAC_OVERRIDE);
    expect_found(&rig, "");
    expect_doubts(&rig.device, 1, "'/mnt/a' cannot be looked at: Permission denied; ");
    take_rights_back();
    /* Without a descriptor not even the list of mounts is to be had: that is an error. */
    struct agent_mounts mounts = {0};
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none.rlim_max = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(agent_mounts_find(&rig.device, 1, &mounts, &err), -EMFILE);
    blx_error_clear(&err);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    disk_shell("umount /mnt/a");
    rig_done(&rig);
}

/* A process with a mount namespace that has the filesystem, while this one has not. */
static pid_t start_hermit(const char *command)
{
    int told[2];
    char c = 0;
    assert_int_equal(pipe2(told, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            system(command) != 0 || write(told[1], "m", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(told[1]);
    assert_int_equal(read(told[0], &c, 1), 1);
    close(told[0]);
    return pid;
}

static void filesystems_in_other_namespaces_are_doubts(void **state)
{
    (void)state;
    static const struct {
        const char *type, *mkfs;
    } kinds[] = {{"ext4", "mkfs.ext4 -q -F"}, {"xfs", "mkfs.xfs -q -f"}};
    disk_shell("mkdir -p /mnt/a");
    for (size_t i = 0; i < 2; i++) {
        struct rig rig;
        char command[128];
        rig_make(&rig, kinds[i].mkfs, 512 * MIB);
        snprintf(command, sizeof(command), "mount %s /mnt/a", rig.disk.path);
        pid_t hermit = start_hermit(command);
        expect_found(&rig, "");
        expect_hidden(&rig, kinds[i].type);
        kill(hermit, SIGKILL);
        disk_wait(hermit, 10);
        rig_done(&rig);
    }
}

static void filesystem_that_was_unmounted_lazily_is_a_doubt(void **state)
{
    (void)state;
    struct rig rig;
    rig_make(&rig, "mkfs.ext4 -q -F", 32 * MIB);
    disk_shell("mkdir -p /mnt/a && mount %s /mnt/a", rig.disk.path);
    int fd = open("/mnt/a/file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    disk_shell("umount -l /mnt/a");
    expect_found(&rig, "");
    expect_hidden(&rig, "ext4");
    close(fd);
    rig_done(&rig);
}

/* The kernel knows the filesystem by its number, whatever the path says. */
static void file_of_a_loop_is_found_without_its_path(void **state)
{
    (void)state;
    struct rig rig;
    rig_make(&rig, "mkfs.ext4 -q -F", 64 * MIB);
    disk_shell("mkdir -p /mnt/a /mnt/b && mount %s /mnt/a && truncate -s 16M /mnt/a/image && "
               "mkfs.ext4 -q -F /mnt/a/image && mount -o loop /mnt/a/image /mnt/b && "
               "rm /mnt/a/image",
               rig.disk.path);
    expect_found(&rig, "/mnt/a /mnt/b ");
    expect_doubts(&rig.device, 1, "");
    struct agent_mounts mounts;
    ok(agent_mounts_find(&rig.device, 1, &mounts, &err));
    assert_int_equal(mounts.mounts[0].depth, 0);
    assert_int_equal(mounts.mounts[1].depth, 1);
    agent_mounts_done(&mounts);
    disk_shell("umount /mnt/b && umount /mnt/a");
    rig_done(&rig);
}

static void expect_missing(const struct rig *rig, const struct rig *missing)
{
    char text[256];
    snprintf(text, sizeof(text), "'/mnt/a' also needs '%s', which is not protected; ",
             missing->disk.path);
    expect_doubts(&rig->device, 1, text);
    const struct agent_device both[] = {rig->device, missing->device};
    expect_doubts(both, 2, "");
    disk_shell("umount /mnt/a");
}

static void filesystems_that_need_another_disk_are_doubts(void **state)
{
    (void)state;
    struct rig rig, other;
    rig_make(&rig, "true", 512 * MIB);
    rig_make(&other, "true", 512 * MIB);
    disk_shell("mkdir -p /mnt/a");
    disk_shell("mke2fs -q -F -O journal_dev -b 4096 %s && "
               "mkfs.ext4 -q -F -b 4096 -J device=%s %s && mount %s /mnt/a",
               other.disk.path, other.disk.path, rig.disk.path, rig.disk.path);
    expect_missing(&rig, &other);
    disk_shell("wipefs -q -a %s && mkfs.xfs -q -f -l logdev=%s,size=64m %s && "
               "mount -o logdev=%s %s /mnt/a",
               other.disk.path, other.disk.path, rig.disk.path, other.disk.path, rig.disk.path);
    expect_missing(&rig, &other);
    disk_shell("mkfs.btrfs -q -f %s %s >/dev/null && btrfs -q device scan %s %s && "
               "mount %s /mnt/a",
               rig.disk.path, other.disk.path, rig.disk.path, other.disk.path, rig.disk.path);
    expect_missing(&rig, &other);
    rig_done(&other);
    rig_done(&rig);
}

static void xfs_that_was_shut_down_is_a_doubt(void **state)
{
    (void)state;
    struct rig rig;
    rig_make(&rig, "mkfs.xfs -q -f", 512 * MIB);
    disk_shell("mkdir -p /mnt/a && mount %s /mnt/a && xfs_io -x -c shutdown /mnt/a", rig.disk.path);
    expect_found(&rig, "");
    expect_doubts(&rig.device, 1, "'/mnt/a' cannot be looked at: Input/output error; ");
    disk_shell("umount /mnt/a");
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
        cmocka_unit_test(mount_points_of_other_users_need_no_right_to_own_them),
        cmocka_unit_test(mount_points_that_cannot_be_opened_are_doubts),
        cmocka_unit_test(filesystems_in_other_namespaces_are_doubts),
        cmocka_unit_test(filesystem_that_was_unmounted_lazily_is_a_doubt),
        cmocka_unit_test(file_of_a_loop_is_found_without_its_path),
        cmocka_unit_test(filesystems_that_need_another_disk_are_doubts),
        cmocka_unit_test(xfs_that_was_shut_down_is_a_doubt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
