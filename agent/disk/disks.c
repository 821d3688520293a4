/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/disk/disks.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/disk/nodes.h"
#include "agent/disk/sysfs.h"
#include "base/cleanup.h"

enum { SECTOR_BYTES = 512 };

/* The arguments of one look. */
struct look {
    const struct blx_config *config;
    const struct blx_policy_message *policy; /* NULL: none */
    struct agent_disks *disks;
};

static bool is_pattern(const char *device)
{
    return strpbrk(device, "*?[") != NULL;
}

/* The kernel's name of the disk; "" if it has gone. */
static void kernel_name(const struct agent_disk *disk, char name[64])
{
    char link[64], target[PATH_MAX];
    snprintf(link, sizeof(link), "/sys/dev/block/%" PRIu32 ":%" PRIu32, disk->major, disk->minor);
    ssize_t length = readlink(link, target, sizeof(target) - 1);
    target[length < 0 ? 0 : length] = '\0';
    const char *slash = strrchr(target, '/');
    snprintf(name, 64, "%.63s", slash == NULL ? "" : slash + 1);
}

/* A policy's pattern comes from outside: it is compared with names, and never expanded. */
static bool path_matches(const char *pattern, const struct agent_disk *disk)
{
    return fnmatch(pattern, disk->path, FNM_PATHNAME) == 0 ||
           (strncmp(pattern, "/dev/", 5) == 0 &&
            agent_nodes_match(pattern, disk->major, disk->minor));
}

static bool matches(const char *pattern, const struct agent_disk *disk)
{
    char kernel[64], volume[BLX_NAME_BYTES];
    if (pattern[0] == '/')
        return path_matches(pattern, disk);
    kernel_name(disk, kernel);
    blx_name_from_device(disk->path, volume);
    return fnmatch(pattern, kernel, 0) == 0 || fnmatch(pattern, volume, 0) == 0;
}

static bool is_excluded(const struct look *look, const struct agent_disk *disk)
{
    const struct blx_policy_message *policy = look->policy;
    for (size_t i = 0; i < look->config->exclude_count; i++) {
        if (matches(look->config->excludes[i], disk))
            return true;
    }
    for (size_t at = 0; policy != NULL && at < policy->exclude_bytes;
         at += strlen(policy->exclude + at) + 1) {
        if (matches(policy->exclude + at, disk))
            return true;
    }
    return false;
}

static bool is_taken(const struct agent_disks *disks, const struct agent_disk *disk)
{
    for (size_t i = 0; i < disks->count; i++) {
        if (disks->list[i].major == disk->major && disks->list[i].minor == disk->minor)
            return true;
    }
    return false;
}

static void take(struct look *look, const struct agent_disk *disk)
{
    struct agent_disks *disks = look->disks;
    /* A disk that is named twice is an error, which is found when it is opened. */
    if (is_excluded(look, disk)) {
        if (disks->excluded_count < AGENT_DISKS_EXCLUDED)
            disks->excluded[disks->excluded_count++] = *disk;
        return;
    }
    if (!disk->named && is_taken(disks, disk))
        return;
    if (disks->count == BLX_MAX_VOLUMES)
        disks->left_over++;
    else
        disks->list[disks->count++] = *disk;
}

/* False if the path is no block device, or one of size zero. */
static bool look_at(const char *path, struct agent_disk *disk)
{
    struct stat st;
    uint64_t sectors = 0;
    if (strlen(path) >= sizeof(disk->path) || stat(path, &st) != 0 || !S_ISBLK(st.st_mode))
        return false;
    *disk = (struct agent_disk){.major = major(st.st_rdev), .minor = minor(st.st_rdev)};
    strcpy(disk->path, path);
    if (agent_sysfs_read_number(&sectors, "/sys/dev/block/%" PRIu32 ":%" PRIu32 "/size",
                                disk->major, disk->minor) < 0)
        return false;
    disk->size_bytes = sectors * SECTOR_BYTES;
    if (agent_sysfs_read_number(&disk->disk_seq, "/sys/dev/block/%" PRIu32 ":%" PRIu32 "/diskseq",
                                disk->major, disk->minor) < 0)
        disk->disk_seq = 0;
    return sectors > 0;
}

static bool is_whole_and_writable(const struct agent_disk *disk)
{
    uint64_t number = 0;
    bool is_partition =
        agent_sysfs_read_number(&number, "/sys/dev/block/%" PRIu32 ":%" PRIu32 "/partition",
                                disk->major, disk->minor) == 0;
    return !is_partition &&
           agent_sysfs_read_number(&number, "/sys/dev/block/%" PRIu32 ":%" PRIu32 "/ro",
                                   disk->major, disk->minor) == 0 &&
           number == 0;
}

static void take_named(struct look *look, const char *path)
{
    struct agent_disk disk;
    if (!look_at(path, &disk)) {
        disk = (struct agent_disk){0};
        snprintf(disk.path, sizeof(disk.path), "%s", path);
    }
    disk.named = true;
    take(look, &disk);
}

static int take_pattern(struct look *look, const char *pattern, struct blx_error *err)
{
    glob_t found = {0};
    int rc = glob(pattern, 0, NULL, &found);
    for (size_t i = 0; rc == 0 && i < found.gl_pathc; i++) {
        struct agent_disk disk;
        if (look_at(found.gl_pathv[i], &disk) && is_whole_and_writable(&disk))
            take(look, &disk);
    }
    globfree(&found);
    return rc == GLOB_NOSPACE ? blx_error_errno(err, -ENOMEM, "cannot look for '%s'", pattern) : 0;
}

/* Drives and memory that are no disks of a server. */
static bool is_no_disk(const char *name)
{
    static const char *const kinds[] = {"loop", "ram", "zram", "sr", "fd"};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        size_t length = strlen(kinds[i]);
        if (strncmp(name, kinds[i], length) == 0 && isdigit((unsigned char)name[length]))
            return true;
    }
    return false;
}

static bool lies_on_others(const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "/sys/block/%.64s/slaves", name);
    BLX_CLEANUP_DIR DIR *slaves = opendir(path);
    const struct dirent *entry = NULL;
    while (slaves != NULL && (entry = readdir(slaves)) != NULL && entry->d_name[0] == '.')
        ;
    return entry != NULL;
}

/* One path of an NVMe disk that has several, without a node of its own. */
static bool is_hidden(const char *name)
{
    uint64_t hidden = 0;
    return agent_sysfs_read_number(&hidden, "/sys/block/%.64s/hidden", name) == 0 && hidden != 0;
}

static void take_if_disk(struct look *look, const char *name)
{
    struct agent_disk disk;
    char path[80];
    if (name[0] == '.' || is_no_disk(name) || is_hidden(name) || lies_on_others(name))
        return;
    snprintf(path, sizeof(path), "/dev/%.64s", name);
    for (char *bang = path; (bang = strchr(bang, '!')) != NULL;)
        *bang = '/';
    if (look_at(path, &disk) && is_whole_and_writable(&disk))
        take(look, &disk);
}

static int take_all(struct look *look, struct blx_error *err)
{
    struct dirent **names = NULL;
    int count = scandir("/sys/block", &names, NULL, versionsort);
    if (count < 0)
        return blx_error_errno(err, -errno, "cannot list the disks in '/sys/block'");
    for (int i = 0; i < count; i++) {
        take_if_disk(look, names[i]->d_name);
        free(names[i]);
    }
    free(names);
    return 0;
}

int agent_disks_find(const struct blx_config *config, const struct blx_policy_message *policy,
                     struct agent_disks *disks, struct blx_error *err)
{
    *disks = (struct agent_disks){0};
    struct look look = {.config = config, .policy = policy, .disks = disks};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < config->device_count; i++) {
        const char *device = config->devices[i];
        if (strcmp(device, "all") == 0)
            rc = take_all(&look, err);
        else if (is_pattern(device))
            rc = take_pattern(&look, device, err);
        else
            take_named(&look, device);
    }
    return rc;
}

static bool is_same(const struct agent_disk *a, const struct agent_disk *b)
{
    return strcmp(a->path, b->path) == 0 && a->named == b->named && a->major == b->major &&
           a->minor == b->minor && a->disk_seq == b->disk_seq && a->size_bytes == b->size_bytes;
}

bool agent_disks_equal(const struct agent_disks *a, const struct agent_disks *b)
{
    bool equal = a->count == b->count;
    for (size_t i = 0; equal && i < a->count; i++)
        equal = is_same(&a->list[i], &b->list[i]);
    return equal;
}
