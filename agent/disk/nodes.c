/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/disk/nodes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "wire/message.h"

enum {
    DEPTH = 4,       /* /dev/disk/by-id/NAME has 2 folders; a volume group has 1 */
    ENTRIES = 50000, /* of all folders together */
};

struct walk {
    const char *pattern;
    dev_t device, filesystem;
    unsigned left; /* entries */
};

static bool is_device(const struct walk *walk, int dir_fd, const char *name)
{
    struct stat st;
    return fstatat(dir_fd, name, &st, 0) == 0 && S_ISBLK(st.st_mode) && st.st_rdev == walk->device;
}

static bool walk_folder(struct walk *walk, int fd, const char *path, unsigned depth);

/* `name` may be a folder of the same filesystem. */
static bool walk_below(struct walk *walk, int dir_fd, const char *name, const char *path,
                       unsigned depth)
{
    struct stat st;
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return false;
    if (fstat(fd, &st) == 0 && st.st_dev == walk->filesystem)
        return walk_folder(walk, fd, path, depth);
    close(fd);
    return false;
}

static bool look_at(struct walk *walk, int dir_fd, const struct dirent *entry, const char *folder,
                    unsigned depth)
{
    char path[BLX_TEXT_BYTES];
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name) >= (int)sizeof(path))
        return false;
    if (entry->d_type == DT_DIR)
        return depth < DEPTH && walk_below(walk, dir_fd, entry->d_name, path, depth + 1);
    return (entry->d_type == DT_LNK || entry->d_type == DT_BLK) &&
           fnmatch(walk->pattern, path, FNM_PATHNAME) == 0 &&
           is_device(walk, dir_fd, entry->d_name);
}

/* Takes the descriptor. */
static bool walk_folder(struct walk *walk, int fd, const char *path, unsigned depth)
{
    BLX_CLEANUP_DIR DIR *dir = fdopendir(fd);
    const struct dirent *entry;
    if (dir == NULL) {
        close(fd);
        return false;
    }
    bool found = false;
    while (!found && walk->left > 0 && (entry = readdir(dir)) != NULL) {
        walk->left--;
        found = look_at(walk, fd, entry, path, depth);
    }
    return found;
}

bool agent_nodes_match(const char *pattern, uint32_t major, uint32_t minor)
{
    struct walk walk = {.pattern = pattern, .device = makedev(major, minor), .left = ENTRIES};
    struct stat st;
    int fd = open("/dev", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    if (fstat(fd, &st) < 0) {
        close(fd);
        return false;
    }
    walk.filesystem = st.st_dev;
    return walk_folder(&walk, fd, "/dev", 0);
}
