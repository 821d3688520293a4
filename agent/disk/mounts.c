/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/disk/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/btrfs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "agent/disk/sysfs.h"
#include "base/cleanup.h"
#include "base/io.h"

enum { LOOP_DEPTH_MAX = 8 };

static const char mountinfo_path[] = "/proc/self/mountinfo";

/* One line of mountinfo; the texts point into the line. */
struct line {
    uint64_t mount_id;
    uint32_t major, minor;
    char *mount_point;
    char *type;
    char *super_options;
};

/* Blanks, tabs, newlines and backslashes come as \ooo. */
static void unescape(char *text)
{
    char *out = text;
    for (const char *in = text; *in != '\0'; in++) {
        if (in[0] == '\\' && in[1] >= '0' && in[1] <= '3' && in[2] >= '0' && in[2] <= '7' &&
            in[3] >= '0' && in[3] <= '7') {
            *out++ = (char)((in[1] - '0') << 6 | (in[2] - '0') << 3 | (in[3] - '0'));
            in += 3;
        } else {
            *out++ = *in;
        }
    }
    *out = '\0';
}

/* "36 35 98:0 /root /mnt rw,noatime master:1 - ext4 /dev/sda1 rw,errors=continue" */
static bool parse_line(char *text, struct line *line)
{
    char *save = NULL;
    const char *id = strtok_r(text, " \n", &save);
    const char *parent = strtok_r(NULL, " \n", &save);
    const char *devno = strtok_r(NULL, " \n", &save);
    const char *root = strtok_r(NULL, " \n", &save);
    line->mount_point = strtok_r(NULL, " \n", &save);
    char *field = strtok_r(NULL, " \n", &save);
    while (field != NULL && strcmp(field, "-") != 0)
        field = strtok_r(NULL, " \n", &save);
    line->type = strtok_r(NULL, " \n", &save);
    const char *source = strtok_r(NULL, " \n", &save);
    line->super_options = strtok_r(NULL, " \n", &save);
    /* The source may be empty, and then two blanks stand side by side. */
    if (line->super_options == NULL)
        line->super_options = (char *)(uintptr_t)source;
    if (parent == NULL || root == NULL || line->super_options == NULL ||
        sscanf(devno, "%" SCNu32 ":%" SCNu32, &line->major, &line->minor) != 2 ||
        sscanf(id, "%" SCNu64, &line->mount_id) != 1)
        return false;
    unescape(line->mount_point);
    return true;
}

static bool is_read_only(const struct line *line)
{
    return strcmp(line->super_options, "ro") == 0 || strncmp(line->super_options, "ro,", 3) == 0;
}

static bool devices_carry(const struct agent_device *devices, size_t count, uint32_t major,
                          uint32_t minor, unsigned depth);

/* The block devices of the btrfs that `fd` lies on; its own number is made up. */
static bool btrfs_carried(const struct agent_device *devices, size_t count, int fd, unsigned depth)
{
    struct btrfs_ioctl_fs_info_args info = {0};
    if (ioctl(fd, BTRFS_IOC_FS_INFO, &info) < 0)
        return false;
    const uint8_t *id = info.fsid;
    char path[128];
    snprintf(path, sizeof(path),
             "/sys/fs/btrfs/%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x/"
             "devices",
             id[0], id[1], id[2], id[3], id[4], id[5], id[6], id[7], id[8], id[9], id[10], id[11],
             id[12], id[13], id[14], id[15]);
    BLX_CLEANUP_DIR DIR *members = opendir(path);
    if (members == NULL)
        return false;
    for (struct dirent *entry; (entry = readdir(members)) != NULL;) {
        uint32_t major = 0, minor = 0;
        if (entry->d_name[0] != '.' &&
            agent_sysfs_read_devno(&major, &minor, "%s/%s/dev", path, entry->d_name) == 0 &&
            devices_carry(devices, count, major, minor, depth))
            return true;
    }
    return false;
}

/* The filesystem that `fd` lies on, which claims to be on major:minor. */
static bool filesystem_carried(const struct agent_device *devices, size_t count, int fd,
                               uint32_t major, uint32_t minor, unsigned depth)
{
    /* Numbers with the major 0 are made up, and only btrfs names the devices below. */
    if (major == 0)
        return btrfs_carried(devices, count, fd, depth);
    return devices_carry(devices, count, major, minor, depth);
}

/* Whether major:minor is (a partition of) a loop device whose file lies on one of the devices. */
static bool loop_file_carried(const struct agent_device *devices, size_t count, uint32_t major,
                              uint32_t minor, unsigned depth)
{
    char file[PATH_MAX];
    if (agent_sysfs_read_text(file, sizeof(file),
                              "/sys/dev/block/%" PRIu32 ":%" PRIu32 "/loop/backing_file", major,
                              minor) < 0 &&
        agent_sysfs_read_text(file, sizeof(file),
                              "/sys/dev/block/%" PRIu32 ":%" PRIu32 "/../loop/backing_file", major,
                              minor) < 0)
        return false;
    /* O_PATH would do for stat(), but not for the btrfs question. If the file is gone nobody
     * knows where it lies. */
    BLX_CLEANUP_FD int fd = blx_open(file, O_RDONLY | O_NONBLOCK | O_NOATIME, 0, NULL);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return false;
    if (S_ISBLK(st.st_mode))
        return devices_carry(devices, count, major(st.st_rdev), minor(st.st_rdev), depth);
    return filesystem_carried(devices, count, fd, major(st.st_dev), minor(st.st_dev), depth);
}

static bool devices_carry(const struct agent_device *devices, size_t count, uint32_t major,
                          uint32_t minor, unsigned depth)
{
    for (size_t i = 0; i < count; i++)
        if (agent_device_carries(&devices[i], major, minor, NULL))
            return true;
    return depth < LOOP_DEPTH_MAX && loop_file_carried(devices, count, major, minor, depth + 1);
}

/* Whether the path still leads to this mount and not to one that covers it. */
static bool is_on_top(int fd, uint64_t mount_id)
{
    struct statx stx = {0};
    if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &stx) < 0 || !(stx.stx_mask & STATX_MNT_ID))
        return true; /* before Linux 5.8 there is no such number */
    return stx.stx_mnt_id == mount_id;
}

/* The mount point, open, or -1 if it cannot be opened. */
static int open_mount_point(const struct line *line)
{
    struct stat st;
    int flags = O_RDONLY | O_DIRECTORY | O_NOATIME;
    /* A file can be a mount point; a pipe or device node that is one must not be opened. */
    if (stat(line->mount_point, &st) == 0 && S_ISREG(st.st_mode))
        flags &= ~O_DIRECTORY;
    BLX_CLEANUP_FD int fd = blx_open(line->mount_point, flags, 0, NULL);
    if (fd < 0 || !is_on_top(fd, line->mount_id))
        return -1;
    return blx_take_fd(&fd);
}

static bool is_known(const struct agent_mounts *mounts, const struct line *line)
{
    for (size_t i = 0; i < mounts->count; i++)
        if (mounts->mounts[i].major == line->major && mounts->mounts[i].minor == line->minor)
            return true;
    return false;
}

/* `fd` belongs to the list afterwards, or is closed. */
static int append(struct agent_mounts *mounts, const struct line *line, int fd)
{
    struct agent_mount *grown =
        reallocarray(mounts->mounts, mounts->count + 1, sizeof(*mounts->mounts));
    if (grown == NULL) {
        close(fd);
        return -ENOMEM;
    }
    mounts->mounts = grown;
    struct agent_mount *mount = &grown[mounts->count++];
    snprintf(mount->mount_point, sizeof(mount->mount_point), "%s", line->mount_point);
    snprintf(mount->type, sizeof(mount->type), "%s", line->type);
    mount->major = line->major;
    mount->minor = line->minor;
    mount->fd = fd;
    return 0;
}

static int consider(const struct agent_device *devices, size_t device_count,
                    const struct line *line, struct agent_mounts *mounts)
{
    /* Cheap questions first: most lines are proc, cgroups and tmpfs. */
    bool btrfs = strcmp(line->type, "btrfs") == 0;
    if ((line->major == 0 && !btrfs) || is_read_only(line) || is_known(mounts, line))
        return 0;
    if (!btrfs && !devices_carry(devices, device_count, line->major, line->minor, 0))
        return 0;
    BLX_CLEANUP_FD int fd = open_mount_point(line);
    if (fd < 0 || (btrfs && !btrfs_carried(devices, device_count, fd, 0)))
        return 0;
    return append(mounts, line, blx_take_fd(&fd));
}

int agent_mounts_find(const struct agent_device *devices, size_t device_count,
                      struct agent_mounts *mounts, struct blx_error *err)
{
    BLX_CLEANUP_FILE FILE *file = fopen(mountinfo_path, "re");
    if (file == NULL)
        return blx_error_errno(err, -errno,
                               "cannot read the list of mounts in '%s'; is /proc mounted?",
                               mountinfo_path);
    struct agent_mounts found = {0};
    BLX_CLEANUP_FREE char *text = NULL;
    size_t capacity = 0;
    int r = 0;
    while (r == 0 && getline(&text, &capacity, file) >= 0) {
        struct line line;
        if (parse_line(text, &line))
            r = consider(devices, device_count, &line, &found);
    }
    if (r == 0 && ferror(file))
        r = -EIO;
    if (r < 0) {
        agent_mounts_done(&found);
        return blx_error_errno(err, r, "cannot read the list of mounts in '%s'", mountinfo_path);
    }
    *mounts = found;
    return 0;
}

void agent_mounts_done(struct agent_mounts *mounts)
{
    for (size_t i = 0; i < mounts->count; i++)
        close(mounts->mounts[i].fd);
    free(mounts->mounts);
    *mounts = (struct agent_mounts){0};
}

int agent_mounts_sync(const struct agent_mounts *mounts, struct blx_error *err)
{
    int first = 0;
    for (size_t i = 0; i < mounts->count; i++) {
        if (syncfs(mounts->mounts[i].fd) == 0)
            continue;
        int r = -errno;
        blx_error_errno(err, r, "cannot flush the filesystem on '%s'",
                        mounts->mounts[i].mount_point);
        if (first == 0)
            first = r;
    }
    return first;
}
