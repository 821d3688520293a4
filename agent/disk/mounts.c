/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/disk/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "agent/disk/carried_private.h"
#include "agent/disk/doubts_private.h"
#include "agent/disk/patience.h"
#include "agent/disk/superblocks_private.h"
#include "agent/disk/sysfs.h"
#include "base/cleanup.h"
#include "base/io.h"

enum {
    ROUNDS_MAX = 3, /* through mountinfo, while mounts come and go under it */
};

/* Besides a depth, and errors that say why nobody knows. */
enum { NOT_CARRIED = -ENODEV };

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

/* A mount point, opened by another process. */
struct opening {
    char path[PATH_MAX];
    uint64_t mount_id;
};

/* Whether the path still leads to this mount and not to one that covers it. */
static bool is_on_top(int fd, uint64_t mount_id)
{
    struct statx stx = {0};
    if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &stx) < 0 || !(stx.stx_mask & STATX_MNT_ID))
        return true; /* before Linux 5.8 there is no such number */
    return stx.stx_mnt_id == mount_id;
}

static int open_in_helper(void *arg, struct agent_patience_io *io)
{
    const struct opening *opening = arg;
    struct stat st;
    int flags = O_RDONLY | O_DIRECTORY;
    /* A file can be a mount point; a pipe or device node that is one must not be opened. */
    if (stat(opening->path, &st) == 0 && S_ISREG(st.st_mode))
        flags &= ~O_DIRECTORY;
    BLX_CLEANUP_FD int fd = agent_open_quietly(opening->path, flags);
    if (fd < 0)
        return fd;
    if (!is_on_top(fd, opening->mount_id))
        return -ESTALE;
    io->taken_fd = blx_take_fd(&fd);
    return 0;
}

/* The mount point, open, or -errno; -ESTALE: another mount covers it. */
static int open_mount_point(const struct line *line)
{
    static const struct agent_patience_call call = {.run = open_in_helper,
                                                    .arg_bytes = sizeof(struct opening)};
    BLX_CLEANUP_FREE struct opening *opening = malloc(sizeof(*opening));
    struct agent_patience_io io = {.lent_fd = -1};
    char name[AGENT_MOUNT_NAME_BYTES];
    if (opening == NULL)
        return -ENOMEM;
    *opening = (struct opening){.mount_id = line->mount_id};
    snprintf(opening->path, sizeof(opening->path), "%s", line->mount_point);
    agent_mount_name(line->mount_point, name);
    int r = agent_patience_run(name, &call, opening, &io, agent_mounts_patience_ms());
    return r < 0 ? r : io.taken_fd;
}

static bool is_known(const struct agent_mounts *mounts, uint32_t major, uint32_t minor)
{
    for (size_t i = 0; i < mounts->count; i++)
        if (mounts->mounts[i].major == major && mounts->mounts[i].minor == minor)
            return true;
    return false;
}

static void list_parts(struct agent_mount *mount)
{
    mount->parts[0] = (struct agent_devno){mount->major, mount->minor};
    mount->part_count = 1;
    if (mount->major == 0 &&
        agent_carried_list_btrfs(mount->fd, mount->parts, &mount->part_count) < 0)
        mount->part_count = 0;
}

/* `fd` belongs to the list afterwards, or is closed. */
static int append(struct agent_mounts *mounts, const struct line *line, int fd, int depth)
{
    struct agent_mount *grown =
        reallocarray(mounts->mounts, mounts->count + 1, sizeof(*mounts->mounts));
    if (grown == NULL) {
        close(fd);
        return -ENOMEM;
    }
    mounts->mounts = grown;
    struct agent_mount *mount = &grown[mounts->count++];
    *mount = (struct agent_mount){
        .major = line->major, .minor = line->minor, .fd = fd, .depth = (unsigned)depth};
    snprintf(mount->mount_point, sizeof(mount->mount_point), "%s", line->mount_point);
    snprintf(mount->type, sizeof(mount->type), "%s", line->type);
    mount->options = strdup(line->super_options);
    list_parts(mount);
    return mount->options != NULL ? 0 : -ENOMEM;
}

/* "cannot be looked at: ...", of a mount point. */
static void doubt_mount(struct agent_mounts *mounts, const struct line *line, int r)
{
    struct agent_mount_doubt about = {
        .major = line->major, .minor = line->minor, .mount_id = line->mount_id};
    if (r == -ESTALE || r == -ENOENT || r == -ENOTDIR)
        agent_mounts_doubt(mounts, &about, "'%s' is covered by another mount", line->mount_point);
    else if (r == -ETIME)
        agent_mounts_doubt(mounts, &about, "'%s' hangs when it is looked at", line->mount_point);
    else
        agent_mounts_doubt(mounts, &about, "'%s' cannot be looked at: %s", line->mount_point,
                           strerror(-r));
}

static int consider(const struct agent_device *devices, size_t device_count,
                    const struct line *line, struct agent_mounts *mounts)
{
    /* Cheap questions first: most lines are proc, cgroups and tmpfs. */
    bool btrfs = strcmp(line->type, "btrfs") == 0;
    if ((line->major == 0 && !btrfs) || is_read_only(line) ||
        is_known(mounts, line->major, line->minor))
        return 0;
    int depth = btrfs ? 0 : agent_carried(devices, device_count, line->major, line->minor);
    if (depth == NOT_CARRIED)
        return 0;
    if (depth < 0) {
        doubt_mount(mounts, line, depth);
        return depth == -ENOMEM ? depth : 0;
    }
    int fd = open_mount_point(line);
    if (btrfs && fd >= 0)
        depth = agent_carried_btrfs(devices, device_count, fd);
    if (fd >= 0 && depth >= 0)
        return append(mounts, line, fd, depth);
    if (fd >= 0)
        close(fd);
    if (fd >= 0 && depth == NOT_CARRIED)
        return 0;
    /* Whether a btrfs that cannot be opened lies on the devices, /sys/fs/btrfs will tell. */
    if (!btrfs || fd >= 0)
        doubt_mount(mounts, line, fd < 0 ? fd : depth);
    return fd == -ENOMEM ? fd : 0;
}

/* One look at mountinfo. `seen` gets the filesystems that it names, read-only ones as well. */
static int look(const struct agent_device *devices, size_t device_count,
                struct agent_mounts *mounts, struct agent_seen *seen)
{
    BLX_CLEANUP_FILE FILE *file = fopen(mountinfo_path, "re");
    if (file == NULL)
        return -errno;
    BLX_CLEANUP_FREE char *text = NULL;
    size_t capacity = 0;
    int r = 0;
    while (r == 0 && getline(&text, &capacity, file) >= 0) {
        struct line line;
        if (!parse_line(text, &line))
            continue;
        r = consider(devices, device_count, &line, mounts);
        if (r == 0 && is_read_only(&line))
            r = agent_seen_add(seen, line.major, line.minor);
    }
    return r == 0 && ferror(file) ? -EIO : r;
}

/* Forgets doubts about filesystems that were found in another place. */
static void settle_doubts(struct agent_mounts *mounts)
{
    size_t left = 0;
    for (size_t i = 0; i < mounts->doubt_count; i++) {
        const struct agent_mount_doubt *doubt = &mounts->doubts[i];
        if (!is_known(mounts, doubt->major, doubt->minor))
            mounts->doubts[left++] = *doubt;
    }
    mounts->doubt_count = left;
}

/* Whether all mounts that there is a doubt about are still there. */
static bool are_still_mounted(const struct agent_mounts *mounts)
{
    BLX_CLEANUP_FILE FILE *file = fopen(mountinfo_path, "re");
    BLX_CLEANUP_FREE char *text = NULL;
    size_t capacity = 0, doubts = 0, found = 0;
    for (size_t i = 0; i < mounts->doubt_count; i++)
        doubts += mounts->doubts[i].mount_id != 0;
    while (file != NULL && getline(&text, &capacity, file) >= 0) {
        uint64_t id = strtoull(text, NULL, 10);
        for (size_t i = 0; i < mounts->doubt_count; i++)
            found += mounts->doubts[i].mount_id == id;
    }
    return file == NULL || found == doubts;
}

static void swap(struct agent_mount *one, struct agent_mount *other)
{
    struct agent_mount third = *one;
    *one = *other;
    *other = third;
}

/* Those that carry others first: whoever thaws in this order never thaws a filesystem whose writes
 * wait for one that is still frozen. Insertion, as the listing is nearly always in order. */
static void sort_by_depth(struct agent_mounts *mounts)
{
    for (size_t i = 1; i < mounts->count; i++) {
        for (size_t j = i; j > 0 && mounts->mounts[j].depth < mounts->mounts[j - 1].depth; j--) {
            struct agent_mount *pair = &mounts->mounts[j - 1];
            swap(&pair[0], &pair[1]);
        }
    }
}

int agent_mounts_find(const struct agent_device *devices, size_t device_count,
                      struct agent_mounts *mounts, struct blx_error *err)
{
    struct agent_mounts found = {0};
    AGENT_CLEANUP_SEEN struct agent_seen seen = {0};
    int r = 0;
    for (int round = 0; round < ROUNDS_MAX; round++) {
        agent_mounts_done(&found);
        seen.count = 0;
        r = look(devices, device_count, &found, &seen);
        settle_doubts(&found);
        if (r < 0 || are_still_mounted(&found))
            break;
    }
    if (r == 0)
        r = agent_superblocks_find_hidden(devices, device_count, &seen, &found);
    if (r == 0)
        agent_superblocks_find_incomplete(devices, device_count, &found);
    if (r < 0) {
        agent_mounts_done(&found);
        return blx_error_errno(err, r, "cannot read the list of mounts in '%s'; is /proc mounted?",
                               mountinfo_path);
    }
    sort_by_depth(&found);
    *mounts = found;
    return 0;
}

void agent_mounts_done(struct agent_mounts *mounts)
{
    for (size_t i = 0; i < mounts->count; i++) {
        close(mounts->mounts[i].fd);
        free(mounts->mounts[i].options);
    }
    free(mounts->mounts);
    free(mounts->doubts);
    *mounts = (struct agent_mounts){0};
}

void agent_mount_name(const char *mount_point, char name[AGENT_MOUNT_NAME_BYTES])
{
    snprintf(name, AGENT_MOUNT_NAME_BYTES, "the filesystem on '%.200s'", mount_point);
}

static int sync_in_helper(void *arg, struct agent_patience_io *io)
{
    (void)arg;
    return syncfs(io->lent_fd) < 0 ? -errno : 0;
}

int agent_mount_sync(const struct agent_mount *mount)
{
    static const struct agent_patience_call call = {.run = sync_in_helper};
    struct agent_patience_io io = {.lent_fd = mount->fd};
    char name[AGENT_MOUNT_NAME_BYTES], nothing = 0;
    agent_mount_name(mount->mount_point, name);
    return agent_patience_run(name, &call, &nothing, &io, agent_patience_get_ms());
}

int agent_mounts_sync(const struct agent_mounts *mounts, struct blx_error *err)
{
    int first = 0;
    for (size_t i = 0; i < mounts->count; i++) {
        const char *mount_point = mounts->mounts[i].mount_point;
        int r = agent_mount_sync(&mounts->mounts[i]);
        if (r == 0)
            continue;
        if (r == -ETIME)
            blx_error_set(err, r, "the filesystem on '%s' does not answer", mount_point);
        else
            blx_error_errno(err, r, "cannot flush the filesystem on '%s'", mount_point);
        if (first == 0)
            first = r;
    }
    return first;
}
