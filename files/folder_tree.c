/* SPDX-License-Identifier: Apache-2.0 */
#include "files/folder_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

struct folder_tree {
    struct files_tree tree;
    int root_fd;
    int mapped_fd; /* the file that was mapped last; -1: none */
};

/* A subvolume has inode numbers of its own. */
static uint64_t number_of(const struct stat *stat)
{
    uint64_t number = stat->st_ino ^ ((uint64_t)minor(stat->st_dev) << 44);
    return number != 0 ? number : UINT64_MAX;
}

/* The descriptor, or -errno. */
static int open_node(const struct folder_tree *folder, struct files_node node, int flags)
{
    struct open_how how = {.flags = (uint64_t)(unsigned)(flags | O_NOFOLLOW | O_CLOEXEC),
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
                                      RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV};
    int fd = (int)syscall(SYS_openat2, folder->root_fd, node.path[0] != '\0' ? node.path : ".",
                          &how, sizeof(how));
    return fd < 0 ? -errno : fd;
}

static int look(struct files_tree *tree, struct files_node node, struct files_stat *stat,
                struct blx_error *err)
{
    struct stat found;
    BLX_CLEANUP_FD int fd = open_node((struct folder_tree *)tree, node, O_PATH);
    if (fd < 0 || fstat(fd, &found) != 0)
        return blx_error_errno(err, fd < 0 ? fd : -errno, "cannot look at it");
    *stat = (struct files_stat){.mode = found.st_mode,
                                .uid = found.st_uid,
                                .gid = found.st_gid,
                                .links = (uint32_t)found.st_nlink,
                                .mtime_s = found.st_mtim.tv_sec,
                                .mtime_ns = (uint32_t)found.st_mtim.tv_nsec,
                                .atime_s = found.st_atim.tv_sec,
                                .atime_ns = (uint32_t)found.st_atim.tv_nsec};
    if (S_ISREG(found.st_mode) || S_ISLNK(found.st_mode) || S_ISDIR(found.st_mode))
        stat->size_bytes = (uint64_t)found.st_size;
    if (S_ISCHR(found.st_mode) || S_ISBLK(found.st_mode)) {
        stat->major = major(found.st_rdev);
        stat->minor = minor(found.st_rdev);
    }
    return 0;
}

static int list(struct files_tree *tree, struct files_node node, files_visit_name *visit, void *arg,
                struct blx_error *err)
{
    int fd = open_node((struct folder_tree *)tree, node, O_RDONLY | O_DIRECTORY);
    BLX_CLEANUP_DIR DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        int rc = fd < 0 ? fd : -errno;
        if (fd >= 0)
            close(fd);
        return blx_error_errno(err, rc, "cannot list it");
    }
    int rc = 0;
    while (rc == 0) {
        struct stat found;
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL)
            return errno != 0 ? blx_error_errno(err, -errno, "cannot list it") : 0;
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        /* One that cannot be looked at is told when it is looked at. */
        uint64_t number =
            fstatat(fd, name, &found, AT_SYMLINK_NOFOLLOW) == 0 ? number_of(&found) : entry->d_ino;
        rc = visit(arg, name, strlen(name), number);
    }
    return blx_error_errno(err, rc, "cannot list it");
}

static int read_link(struct files_tree *tree, struct files_node node, char target[FILES_PATH_BYTES],
                     struct blx_error *err)
{
    BLX_CLEANUP_FD int fd = open_node((struct folder_tree *)tree, node, O_PATH);
    ssize_t length = fd < 0 ? fd : readlinkat(fd, "", target, FILES_PATH_BYTES - 1);
    if (length <= 0)
        return blx_error_errno(err,
                               fd < 0       ? fd
                               : length < 0 ? -errno
                                            : -EBADMSG,
                               "cannot read the link");
    target[length] = '\0';
    return 0;
}

static int list_attributes(struct files_tree *tree, struct files_node node,
                           files_visit_attribute *visit, void *arg, struct blx_error *err)
{
    char path[64];
    BLX_CLEANUP_FREE char *names = malloc(XATTR_LIST_MAX + 1);
    BLX_CLEANUP_FREE char *value = malloc(XATTR_SIZE_MAX);
    BLX_CLEANUP_FD int fd = open_node((struct folder_tree *)tree, node, O_PATH);
    if (fd < 0 || names == NULL || value == NULL)
        return blx_error_errno(err, fd < 0 ? fd : -ENOMEM, "cannot read its attributes");
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd); /* a descriptor without rights has none */
    ssize_t bytes = listxattr(path, names, XATTR_LIST_MAX);
    if (bytes < 0)
        return errno == EOPNOTSUPP ? 0 : blx_error_errno(err, -errno, "cannot read its attributes");
    names[bytes] = '\0';
    int rc = 0;
    for (const char *name = names; rc == 0 && name < names + bytes; name += strlen(name) + 1) {
        if (!files_attribute_is_known(name))
            continue;
        ssize_t length = getxattr(path, name, value, XATTR_SIZE_MAX);
        if (length < 0)
            return blx_error_errno(err, -errno, "cannot read its attribute '%s'", name);
        rc = visit(
            arg, &(struct files_attribute){.name = name, .value = value, .bytes = (size_t)length});
    }
    return rc;
}

static int map(struct files_tree *tree, struct files_node node, files_visit_segment *visit,
               void *arg, struct blx_error *err)
{
    struct folder_tree *folder = (struct folder_tree *)tree;
    struct stat stat;
    if (folder->mapped_fd >= 0)
        close(blx_take_fd(&folder->mapped_fd));
    folder->mapped_fd = open_node(folder, node, O_RDONLY | O_NONBLOCK);
    if (folder->mapped_fd < 0 || fstat(folder->mapped_fd, &stat) != 0)
        return blx_error_errno(err, folder->mapped_fd < 0 ? folder->mapped_fd : -errno,
                               "cannot open it");
    int rc = 0;
    for (off_t at = 0; rc == 0 && at < stat.st_size;) {
        off_t begin = lseek(folder->mapped_fd, at, SEEK_DATA);
        if (begin < 0 && errno == ENXIO)
            return 0; /* a hole up to the end */
        at = begin < 0 ? begin : lseek(folder->mapped_fd, begin, SEEK_HOLE);
        if (at < 0)
            return blx_error_errno(err, -errno, "cannot find its holes");
        if (at > stat.st_size)
            at = stat.st_size;
        if (at <= begin)
            return 0;
        rc = visit(arg, (uint64_t)begin, (uint64_t)(at - begin));
    }
    return rc;
}

static int read_mapped(struct files_tree *tree, struct files_node node, void *buffer, size_t bytes,
                       uint64_t offset_bytes, struct blx_error *err)
{
    const struct folder_tree *folder = (struct folder_tree *)tree;
    (void)node;
    int rc = blx_pread_full(folder->mapped_fd, buffer, bytes, offset_bytes);
    return rc < 0 ? blx_error_errno(err, rc, "cannot read its blocks") : 0;
}

static void close_tree(struct files_tree *tree)
{
    struct folder_tree *folder = (struct folder_tree *)tree;
    if (folder->mapped_fd >= 0)
        close(folder->mapped_fd);
    close(folder->root_fd);
    free(folder);
}

int files_folder_tree_open(const char *path, struct files_tree **tree, struct blx_error *err)
{
    static const struct files_tree_kind kind = {look, list,        read_link,  list_attributes,
                                                map,  read_mapped, close_tree, NULL};
    struct folder_tree *folder = malloc(sizeof(*folder));
    struct stat stat;
    if (folder == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot open '%s'", path);
    *folder = (struct folder_tree){.tree.kind = &kind, .root_fd = -1, .mapped_fd = -1};
    folder->root_fd = blx_open(path, O_RDONLY | O_DIRECTORY, 0, err);
    if (folder->root_fd < 0 || fstat(folder->root_fd, &stat) != 0) {
        int rc = folder->root_fd < 0 ? folder->root_fd : -errno;
        if (folder->root_fd >= 0)
            close(folder->root_fd);
        free(folder);
        return blx_error_errno(err, rc, "cannot open '%s'", path);
    }
    folder->tree.root = number_of(&stat);
    *tree = &folder->tree;
    return 0;
}
