/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/disk/superblocks_private.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/disk/carried_private.h"
#include "agent/disk/doubts_private.h"
#include "agent/disk/sysfs.h"
#include "base/cleanup.h"

enum {
    STACK_DEPTH_MAX = 8,
    SUPERBLOCK_BYTES = 4096, /* the first of an ext4 or xfs, enough for the fields below */
    SUPERBLOCK_ALIGN = 4096,
};

int agent_seen_add(struct agent_seen *seen, uint32_t major, uint32_t minor)
{
    if (seen->count == seen->capacity) {
        size_t capacity = 2 * seen->capacity + 16;
        struct agent_devno *grown = reallocarray(seen->list, capacity, sizeof(*grown));
        if (grown == NULL)
            return -ENOMEM;
        seen->list = grown;
        seen->capacity = capacity;
    }
    seen->list[seen->count++] = (struct agent_devno){major, minor};
    return 0;
}

void agent_seen_done(struct agent_seen *seen)
{
    free(seen->list);
    *seen = (struct agent_seen){0};
}

static bool is_seen(const struct agent_mounts *mounts, const struct agent_seen *seen,
                    struct agent_devno devno)
{
    for (size_t i = 0; i < seen->count; i++)
        if (seen->list[i].major == devno.major && seen->list[i].minor == devno.minor)
            return true;
    for (size_t i = 0; i < mounts->doubt_count; i++)
        if (mounts->doubts[i].major == devno.major && mounts->doubts[i].minor == devno.minor)
            return true;
    for (size_t i = 0; i < mounts->count; i++)
        for (size_t p = 0; p < mounts->mounts[i].part_count; p++)
            if (mounts->mounts[i].parts[p].major == devno.major &&
                mounts->mounts[i].parts[p].minor == devno.minor)
                return true;
    return false;
}

static void doubt_hidden(struct agent_mounts *mounts, const char *type, const char *name,
                         struct agent_devno devno)
{
    struct agent_mount_doubt about = {.major = devno.major, .minor = devno.minor};
    agent_mounts_doubt(mounts, &about,
                       "the %s on '/dev/%s' is mounted where the agent does not see it (another "
                       "mount namespace, a covered mount, umount -l)",
                       type, name);
}

/* A folder of /sys/fs with an entry for each device. */
static int find_hidden_by_name(const struct agent_device *devices, size_t count, const char *type,
                               const struct agent_seen *seen, struct agent_mounts *mounts)
{
    char path[64];
    snprintf(path, sizeof(path), "/sys/fs/%s", type);
    BLX_CLEANUP_DIR DIR *folder = opendir(path);
    if (folder == NULL)
        return errno == ENOENT ? 0 : -errno;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        struct agent_devno devno;
        if (entry->d_name[0] == '.' ||
            agent_sysfs_read_devno(&devno.major, &devno.minor, "/sys/class/block/%s/dev",
                                   entry->d_name) < 0 ||
            is_seen(mounts, seen, devno))
            continue;
        if (agent_carried(devices, count, devno.major, devno.minor) >= 0)
            doubt_hidden(mounts, type, entry->d_name, devno);
    }
    return 0;
}

/* Whether the mount namespace shows a btrfs read-only cannot be told by its members; then it is no
 * worse than a doubt. */
static int find_hidden_btrfs(const struct agent_device *devices, size_t count,
                             const struct agent_seen *seen, struct agent_mounts *mounts)
{
    BLX_CLEANUP_DIR DIR *folder = opendir("/sys/fs/btrfs");
    if (folder == NULL)
        return errno == ENOENT ? 0 : -errno;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        struct agent_devno parts[AGENT_MOUNT_PARTS];
        size_t part_count = 0;
        char path[PATH_MAX];
        snprintf(path, sizeof(path), "/sys/fs/btrfs/%s/devices", entry->d_name);
        if (entry->d_name[0] == '.' || agent_carried_list_members(path, parts, &part_count) < 0)
            continue;
        for (size_t i = 0; i < part_count; i++) {
            if (is_seen(mounts, seen, parts[i]) ||
                agent_carried(devices, count, parts[i].major, parts[i].minor) < 0)
                continue;
            doubt_hidden(mounts, "btrfs", entry->d_name, parts[i]);
            break;
        }
    }
    return 0;
}

int agent_superblocks_find_hidden(const struct agent_device *devices, size_t count,
                                  const struct agent_seen *seen, struct agent_mounts *mounts)
{
    static const char *const types[] = {"ext4", "xfs", "f2fs"};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        int r = find_hidden_by_name(devices, count, types[i], seen, mounts);
        if (r < 0)
            return r;
    }
    return find_hidden_btrfs(devices, count, seen, mounts);
}

/* The name of a device that major:minor needs and that is not carried, "" if there is none. */
static void find_missing(const struct agent_device *devices, size_t count, struct agent_devno devno,
                         unsigned depth, char name[64])
{
    char path[64], link[PATH_MAX];
    name[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        uint64_t start = 0;
        /* UINT64_MAX: only some of its parts lie there. */
        if (agent_device_carries(&devices[i], devno.major, devno.minor, &start) &&
            start != UINT64_MAX)
            return;
    }
    snprintf(path, sizeof(path), "/sys/dev/block/%" PRIu32 ":%" PRIu32 "/slaves", devno.major,
             devno.minor);
    BLX_CLEANUP_DIR DIR *slaves = depth < STACK_DEPTH_MAX ? opendir(path) : NULL;
    size_t below = 0;
    for (struct dirent *entry; slaves != NULL && (entry = readdir(slaves)) != NULL;) {
        struct agent_devno slave;
        if (entry->d_name[0] == '.' || agent_sysfs_read_devno(&slave.major, &slave.minor,
                                                              "%s/%s/dev", path, entry->d_name) < 0)
            continue;
        below++;
        find_missing(devices, count, slave, depth + 1, name);
        if (name[0] != '\0')
            return;
    }
    if (below > 0 || agent_carried(devices, count, devno.major, devno.minor) >= 0)
        return;
    *strrchr(path, '/') = '\0';
    ssize_t length = readlink(path, link, sizeof(link) - 1);
    link[length < 0 ? 0 : length] = '\0';
    const char *slash = strrchr(link, '/');
    snprintf(name, 64, "%.63s", slash != NULL ? slash + 1 : "?");
}

/* What an ext4 without a journal inode says about the device of its journal. */
static bool find_ext4_journal(const struct agent_device *device, uint64_t start_bytes,
                              struct agent_devno *journal)
{
    enum { SUPER = 1024, COMPAT = 0x5c, HAS_JOURNAL = 4, JOURNAL_INUM = 0xe0, JOURNAL_DEV = 0xe4 };
    uint8_t *block = aligned_alloc(SUPERBLOCK_ALIGN, SUPERBLOCK_BYTES);
    uint32_t compat = 0, inode = 0, number = 0;
    bool whole = block != NULL && agent_device_read(device, block, SUPERBLOCK_BYTES, start_bytes) ==
                                      SUPERBLOCK_BYTES;
    if (whole) {
        memcpy(&compat, block + SUPER + COMPAT, sizeof(compat));
        memcpy(&inode, block + SUPER + JOURNAL_INUM, sizeof(inode));
        memcpy(&number, block + SUPER + JOURNAL_DEV, sizeof(number));
    }
    free(block);
    *journal = (struct agent_devno){major((dev_t)le32toh(number)), minor((dev_t)le32toh(number))};
    return whole && (le32toh(compat) & HAS_JOURNAL) != 0 && inode == 0;
}

/* The device that a mount option of /proc/self/mountinfo names, "logdev=/dev/sdb1". */
static bool find_option_device(const char *options, const char *option, struct agent_devno *devno)
{
    const char *found = strstr(options, option);
    char path[PATH_MAX];
    struct stat st;
    if (found == NULL || (found != options && found[-1] != ','))
        return false;
    found += strlen(option);
    snprintf(path, sizeof(path), "%.*s", (int)strcspn(found, ","), found);
    if (stat(path, &st) < 0 || !S_ISBLK(st.st_mode))
        return false;
    *devno = (struct agent_devno){major(st.st_rdev), minor(st.st_rdev)};
    return true;
}

/* Adds the devices that the filesystem has besides those that its number tells. */
static void add_parts(const struct agent_device *devices, size_t count, struct agent_mount *mount)
{
    struct agent_devno part;
    uint64_t start = 0;
    for (size_t i = 0; i < count && strcmp(mount->type, "ext4") == 0; i++) {
        if (!agent_device_carries(&devices[i], mount->major, mount->minor, &start) ||
            start == UINT64_MAX || !find_ext4_journal(&devices[i], start, &part))
            continue;
        mount->parts[mount->part_count++] = part;
        break;
    }
    static const char *const options[] = {"logdev=", "rtdev="};
    for (size_t i = 0; i < 2 && mount->options != NULL && strcmp(mount->type, "xfs") == 0; i++)
        if (find_option_device(mount->options, options[i], &part))
            mount->parts[mount->part_count++] = part;
}

void agent_superblocks_find_incomplete(const struct agent_device *devices, size_t count,
                                       struct agent_mounts *mounts)
{
    for (size_t i = 0; i < mounts->count; i++) {
        struct agent_mount *mount = &mounts->mounts[i];
        add_parts(devices, count, mount);
        for (size_t p = 0; p < mount->part_count; p++) {
            char name[64];
            find_missing(devices, count, mount->parts[p], 0, name);
            if (name[0] == '\0')
                continue;
            struct agent_mount_doubt about = {.major = mount->major, .minor = mount->minor};
            agent_mounts_doubt(mounts, &about, "'%s' also needs '/dev/%s', which is not protected",
                               mount->mount_point, name);
            break;
        }
    }
}
