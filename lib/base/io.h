/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File operations that finish: short reads and writes, EINTR, and making a file durable are handled
 * here, once.
 *
 * All functions wait for the disk, may be called from any thread and return 0 or -errno. `err` may
 * be NULL; a function that has it names the path there.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* Opens `path`, adding O_CLOEXEC to the flags. The descriptor, or -errno. */
int blx_open(const char *path, int flags, mode_t mode, struct blx_error *err);

/* Reads exactly `bytes`; -ENODATA if the file ends before. */
int blx_pread_full(int fd, void *buffer, size_t bytes, uint64_t offset);
int blx_pwrite_full(int fd, const void *buffer, size_t bytes, uint64_t offset);

/* Makes the directory's entries durable (the names, not the files' contents). */
int blx_fsync_dir(const char *path, struct blx_error *err);

/* The same for the directory that `path` lies in. */
int blx_fsync_parent(const char *path, struct blx_error *err);

/* Makes `path` and its missing parents. A folder that exists is fine. Not durable by itself. */
int blx_mkdir_parents(const char *path, mode_t mode, struct blx_error *err);

/*
 * The commit idiom: writes `path`.tmp, fsync, rename over `path`, fsync of the directory. After a
 * crash at any point `path` is the old file or the whole new one. A left-over .tmp is overwritten
 * next time.
 */
int blx_file_replace(const char *path, const void *content, size_t bytes, mode_t mode,
                     struct blx_error *err);

/*
 * Reads a whole file of at most `limit_bytes` into a new buffer that the caller frees; a NUL byte
 * follows the content. -EFBIG if the file is larger.
 */
int blx_file_read(const char *path, size_t limit_bytes, void **content, size_t *bytes,
                  struct blx_error *err);

/*
 * Reads a whole file of less than `bytes` bytes into the caller's buffer and returns its size.
 * -EFBIG if it is larger: read it with blx_file_read().
 */
ssize_t blx_file_read_small(int dir_fd, const char *name, void *buffer, size_t bytes);

/* Closes all descriptors from that number on, for a process that must hold nothing of its parent's.
 * Allocates nothing. */
void blx_close_from(int first_fd);

/* From now on this process may have as many files open as its hard limit allows. */
void blx_raise_file_limit(void);

/* printf into a path buffer; -ENAMETOOLONG if it does not fit. */
int blx_path_format(char *buffer, size_t bytes, struct blx_error *err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
