/* SPDX-License-Identifier: Apache-2.0 */
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "base/sys.h"

int blx_open(const char *path, int flags, mode_t mode, struct blx_error *err)
{
    int fd = blx_sys->openat(AT_FDCWD, path, flags | O_CLOEXEC, mode);
    if (fd < 0)
        return blx_error_errno(err, -errno, "cannot open '%s'", path);
    return fd;
}

int blx_pread_full(int fd, void *buffer, size_t bytes, uint64_t offset)
{
    unsigned char *next = buffer;
    while (bytes > 0) {
        ssize_t got = blx_sys->pread(fd, next, bytes, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            return -ENODATA;
        next += got;
        offset += (uint64_t)got;
        bytes -= (size_t)got;
    }
    return 0;
}

int blx_pwrite_full(int fd, const void *buffer, size_t bytes, uint64_t offset)
{
    const unsigned char *next = buffer;
    while (bytes > 0) {
        ssize_t put = blx_sys->pwrite(fd, next, bytes, (off_t)offset);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -errno;
        next += put;
        offset += (uint64_t)put;
        bytes -= (size_t)put;
    }
    return 0;
}

int blx_fsync_dir(const char *path, struct blx_error *err)
{
    BLX_CLEANUP_FD int fd = blx_open(path, O_RDONLY | O_DIRECTORY, 0, err);
    if (fd < 0)
        return fd;
    if (blx_sys->fsync(fd) != 0)
        return blx_error_errno(err, -errno, "cannot make the directory '%s' durable", path);
    return 0;
}

int blx_fsync_parent(const char *path, struct blx_error *err)
{
    char parent[PATH_MAX];
    int rc = blx_path_format(parent, sizeof(parent), err, "%s", path);
    if (rc < 0)
        return rc;
    char *slash = strrchr(parent, '/');
    if (slash == NULL)
        return blx_fsync_dir(".", err);
    slash[slash == parent ? 1 : 0] = '\0';
    return blx_fsync_dir(parent, err);
}

int blx_mkdir_parents(const char *path, mode_t mode, struct blx_error *err)
{
    char partial[PATH_MAX];
    int rc = blx_path_format(partial, sizeof(partial), err, "%s", path);
    if (rc < 0)
        return rc;
    for (char *at = partial + 1;; at++) {
        if (*at != '/' && *at != '\0')
            continue;
        char kept = *at;
        *at = '\0';
        if (blx_sys->mkdir(partial, mode) != 0 && errno != EEXIST)
            return blx_error_errno(err, -errno, "cannot make the directory '%s'", partial);
        *at = kept;
        if (kept == '\0')
            break;
    }
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return blx_error_set(err, -ENOTDIR, "'%s' exists and is not a directory", path);
    return 0;
}

static int write_durably(const char *path, const void *content, size_t bytes, mode_t mode,
                         struct blx_error *err)
{
    BLX_CLEANUP_FD int fd = blx_open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode, err);
    if (fd < 0)
        return fd;
    int rc = blx_pwrite_full(fd, content, bytes, 0);
    if (rc == 0 && blx_sys->fsync(fd) != 0)
        rc = -errno;
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot write '%s'", path);
    return 0;
}

int blx_file_replace(const char *path, const void *content, size_t bytes, mode_t mode,
                     struct blx_error *err)
{
    char temporary[PATH_MAX];
    int rc = blx_path_format(temporary, sizeof(temporary), err, "%s.tmp", path);
    if (rc < 0)
        return rc;
    rc = write_durably(temporary, content, bytes, mode, err);
    if (rc == 0 && blx_sys->rename(temporary, path) != 0)
        rc = blx_error_errno(err, -errno, "cannot rename '%s' to '%s'", temporary, path);
    if (rc < 0) {
        blx_sys->unlink(temporary);
        return rc;
    }
    return blx_fsync_parent(path, err);
}

int blx_file_read(const char *path, size_t limit_bytes, void **content, size_t *bytes,
                  struct blx_error *err)
{
    BLX_CLEANUP_FD int fd = blx_open(path, O_RDONLY, 0, err);
    if (fd < 0)
        return fd;
    struct stat st;
    if (fstat(fd, &st) != 0)
        return blx_error_errno(err, -errno, "cannot read '%s'", path);
    if (!S_ISREG(st.st_mode))
        return blx_error_set(err, -EINVAL, "'%s' is not a regular file", path);
    if ((uint64_t)st.st_size > limit_bytes)
        return blx_error_set(err, -EFBIG, "'%s' has %lld bytes, more than the %zu that are allowed",
                             path, (long long)st.st_size, limit_bytes);
    size_t size = (size_t)st.st_size;
    BLX_CLEANUP_FREE char *buffer = malloc(size + 1);
    if (buffer == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot read '%s'", path);
    int rc = blx_pread_full(fd, buffer, size, 0);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot read '%s'", path);
    buffer[size] = '\0';
    *content = blx_take_ptr(buffer);
    *bytes = size;
    return 0;
}

ssize_t blx_file_read_small(int dir_fd, const char *name, void *buffer, size_t bytes)
{
    BLX_CLEANUP_FD int fd = blx_sys->openat(dir_fd, name, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    ssize_t got = blx_sys->pread(fd, buffer, bytes, 0);
    if (got < 0)
        return -errno;
    return (size_t)got < bytes ? got : -EFBIG;
}

void blx_close_from(int first_fd)
{
    struct rlimit limit = {0};
    if (syscall(SYS_close_range, first_fd, ~0U, 0) == 0)
        return;
    getrlimit(RLIMIT_NOFILE, &limit); /* before Linux 5.9 */
    for (int fd = first_fd; fd < (int)limit.rlim_cur && fd < 1 << 20; fd++)
        close(fd);
}

void blx_raise_file_limit(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return;
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

int blx_path_format(char *buffer, size_t bytes, struct blx_error *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int used = vsnprintf(buffer, bytes, format, args);
    va_end(args);
    if (used < 0 || (size_t)used >= bytes)
        return blx_error_set(err, -ENAMETOOLONG, "the path '%.80s...' is too long",
                             bytes > 0 ? buffer : "");
    return 0;
}
