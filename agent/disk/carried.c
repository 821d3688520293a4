/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/disk/carried_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <linux/btrfs.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/disk/patience.h"
#include "agent/disk/sysfs.h"
#include "base/cleanup.h"
#include "base/io.h"

enum {
    LOOP_DEPTH_MAX = 8,
    BTRFS_PARTS_MAX = AGENT_MOUNT_PARTS - 2, /* a log and a realtime device may come on top */
};

/* Besides a depth, and errors that say why nobody knows. */
enum { NOT_CARRIED = -ENODEV };

enum { LOOK_UP_MS = 5000 };

uint64_t agent_mounts_patience_ms(void)
{
    uint64_t ms = agent_patience_get_ms();
    return ms < LOOK_UP_MS ? ms : LOOK_UP_MS;
}

int agent_carried_list_members(const char *folder, struct agent_devno *parts, size_t *count)
{
    BLX_CLEANUP_DIR DIR *members = opendir(folder);
    *count = 0;
    if (members == NULL)
        return -errno;
    for (struct dirent *entry; (entry = readdir(members)) != NULL;) {
        struct agent_devno *part = &parts[*count];
        if (entry->d_name[0] != '.' && *count < BTRFS_PARTS_MAX &&
            agent_sysfs_read_devno(&part->major, &part->minor, "%s/%s/dev", folder,
                                   entry->d_name) == 0)
            ++*count;
    }
    return 0;
}

static int devices_carry(const struct agent_device *devices, size_t count, uint32_t major,
                         uint32_t minor, unsigned depth);

/* CAP_FOWNER, which O_NOATIME needs for what belongs to others, is not among the unit's rights. */
int agent_open_quietly(const char *path, int flags)
{
    int fd = blx_open(path, flags | O_NOATIME, 0, NULL);
    return fd == -EPERM ? blx_open(path, flags, 0, NULL) : fd;
}

/* The block devices of the btrfs that `fd` lies on, whose own number is made up. */
int agent_carried_list_btrfs(int fd, struct agent_devno *parts, size_t *count)
{
    struct btrfs_ioctl_fs_info_args info = {0};
    *count = 0;
    if (ioctl(fd, BTRFS_IOC_FS_INFO, &info) < 0)
        return errno == ENOTTY ? 0 : -errno;
    const uint8_t *id = info.fsid;
    char path[128];
    snprintf(path, sizeof(path),
             "/sys/fs/btrfs/%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x/"
             "devices",
             id[0], id[1], id[2], id[3], id[4], id[5], id[6], id[7], id[8], id[9], id[10], id[11],
             id[12], id[13], id[14], id[15]);
    return agent_carried_list_members(path, parts, count);
}

/* How deep the btrfs that `fd` lies on is carried. */
static int btrfs_carry(const struct agent_device *devices, size_t count, int fd, unsigned depth)
{
    struct agent_devno parts[AGENT_MOUNT_PARTS];
    size_t part_count;
    int r = agent_carried_list_btrfs(fd, parts, &part_count);
    if (r < 0)
        return r;
    int found = NOT_CARRIED;
    for (size_t i = 0; i < part_count; i++) {
        r = devices_carry(devices, count, parts[i].major, parts[i].minor, depth);
        if (r > found || found == NOT_CARRIED)
            found = r;
    }
    return found;
}

/* A loop device's file, as the kernel knows it. Asking for it needs no path. */
struct loop_file {
    char device[PATH_MAX];
    char path[PATH_MAX];
    dev_t on;    /* the filesystem with the file */
    dev_t block; /* the file is a block device; 0: it is none */
};

static int look_at_loop_file(void *arg, struct agent_patience_io *io)
{
    struct loop_file *file = arg;
    BLX_CLEANUP_FD int loop = blx_open(file->device, O_RDONLY | O_NONBLOCK, 0, NULL);
    if (loop < 0)
        return loop;
    struct loop_info64 info = {0};
    if (ioctl(loop, LOOP_GET_STATUS64, &info) < 0)
        return errno == ENXIO ? NOT_CARRIED : -errno; /* ENXIO: it has no file any more */
    file->on = (dev_t)info.lo_device;
    file->block = (dev_t)info.lo_rdevice;
    if (major(file->on) != 0 || file->block != 0)
        return 0;
    /* Numbers with the major 0 are made up, and only btrfs names the devices below. */
    BLX_CLEANUP_FD int fd = agent_open_quietly(file->path, O_RDONLY | O_NONBLOCK);
    struct stat st;
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (st.st_ino != info.lo_inode || st.st_dev != file->on)
        return -ESTALE; /* the path leads to another file now */
    io->taken_fd = blx_take_fd(&fd);
    return 0;
}

/* Fills in the names of a loop device, or of the one that a partition is of. */
static int find_loop_file(uint32_t major, uint32_t minor, struct loop_file *file)
{
    char link[64], target[PATH_MAX];
    *file = (struct loop_file){0};
    snprintf(link, sizeof(link), "/sys/dev/block/%" PRIu32 ":%" PRIu32, major, minor);
    ssize_t length = readlink(link, target, sizeof(target) - 1);
    if (length < 0)
        return NOT_CARRIED;
    target[length] = '\0';
    char *name = basename(target);
    if (agent_sysfs_read_text(file->path, sizeof(file->path), "%s/loop/backing_file", link) < 0) {
        if (agent_sysfs_read_text(file->path, sizeof(file->path), "%s/../loop/backing_file", link) <
            0)
            return NOT_CARRIED;
        name[-1] = '\0';
        name = basename(target);
    }
    snprintf(file->device, sizeof(file->device), "/dev/%s", name);
    return 0;
}

/* How deep the file of the loop device major:minor (or of the one that it is a partition of) is
 * carried. */
static int loop_file_carried(const struct agent_device *devices, size_t count, uint32_t major,
                             uint32_t minor, unsigned depth)
{
    static const struct agent_patience_call call = {.run = look_at_loop_file,
                                                    .arg_bytes = sizeof(struct loop_file)};
    struct agent_patience_io io = {.lent_fd = -1};
    BLX_CLEANUP_FREE struct loop_file *file = malloc(sizeof(*file));
    BLX_CLEANUP_FREE char *name = NULL;
    if (file == NULL)
        return -ENOMEM;
    int r = find_loop_file(major, minor, file);
    if (r < 0)
        return r;
    if (asprintf(&name, "'%s', the file of '%s',", file->path, file->device) < 0) {
        name = NULL;
        return -ENOMEM;
    }
    r = agent_patience_run(name, &call, file, &io, agent_mounts_patience_ms());
    if (r < 0)
        return r;
    BLX_CLEANUP_FD int fd = io.taken_fd; /* -1: `on` says enough */
    if (file->block != 0)
        return devices_carry(devices, count, major(file->block), minor(file->block), depth);
    if (major(file->on) == 0)
        return btrfs_carry(devices, count, fd, depth);
    return devices_carry(devices, count, major(file->on), minor(file->on), depth);
}

/* How deep the device major:minor lies on the devices: 0 on one of them itself, 1 in a file of a
 * filesystem on one, ... NOT_CARRIED, or an error: nobody knows. */
static int devices_carry(const struct agent_device *devices, size_t count, uint32_t major,
                         uint32_t minor, unsigned depth)
{
    /* A loop device may be a volume of its own, and have its file on another one. */
    int r = depth < LOOP_DEPTH_MAX ? loop_file_carried(devices, count, major, minor, depth + 1)
                                   : NOT_CARRIED;
    if (r >= 0)
        return r + 1;
    for (size_t i = 0; i < count; i++)
        if (agent_device_carries(&devices[i], major, minor, NULL))
            return 0;
    return r;
}

int agent_carried(const struct agent_device *devices, size_t count, uint32_t major, uint32_t minor)
{
    return devices_carry(devices, count, major, minor, 0);
}

int agent_carried_btrfs(const struct agent_device *devices, size_t count, int fd)
{
    return btrfs_carry(devices, count, fd, 0);
}
