/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fault seam: every disk call of lib goes through this one table. A test puts another table in
 * its place, whose calls fail at the Nth use, to prove that an error at any point leaks nothing and
 * leaves the store good.
 *
 * Threads: only tests change the pointer, before threads start.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

struct blx_sys {
    int (*openat)(int dir_fd, const char *path, int flags,
                  mode_t mode); /* the caller adds O_CLOEXEC */
    ssize_t (*pread)(int fd, void *buffer, size_t bytes, off_t offset);
    ssize_t (*pwrite)(int fd, const void *buffer, size_t bytes, off_t offset);
    int (*fsync)(int fd);
    int (*fdatasync)(int fd);
    int (*ftruncate)(int fd, off_t bytes);
    int (*fallocate)(int fd, int mode, off_t offset, off_t bytes);
    int (*rename)(const char *from, const char *to);
    int (*unlink)(const char *path);
    int (*mkdir)(const char *path, mode_t mode);
    int (*rmdir)(const char *path);
};

/* The table in use: the real calls, unless a test has put its own here. */
extern const struct blx_sys *blx_sys;

/* The real calls. */
extern const struct blx_sys blx_sys_real;
