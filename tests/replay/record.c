/* SPDX-License-Identifier: Apache-2.0 */
#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sys.h"

enum { NODE_BYTES = 512 }; /* a new file or folder takes so much */

static struct recorder *recorder;

static void begin_change(void)
{
    recorder->before_change(recorder->arg);
}

/* Of `bytes`, those that there is room for. */
static uint64_t take_room(uint64_t bytes)
{
    if (!recorder->is_limited)
        return bytes;
    if (bytes > recorder->room_bytes)
        bytes = recorder->room_bytes;
    recorder->room_bytes -= bytes;
    return bytes;
}

static void give_room(uint64_t bytes)
{
    recorder->room_bytes += bytes;
}

static int refuse(void)
{
    recorder->refused++;
    errno = ENOSPC;
    return -1;
}

static int record_openat(int dir_fd, const char *path, int flags, mode_t mode)
{
    struct stat st;
    if ((flags & O_CREAT) == 0 || !disk_has(recorder->disk, path))
        return blx_sys_real.openat(dir_fd, path, flags, mode);
    begin_change();
    bool existed = lstat(path, &st) == 0;
    if (!existed && take_room(NODE_BYTES) < NODE_BYTES)
        return refuse();
    int fd = blx_sys_real.openat(dir_fd, path, flags, mode);
    if (fd >= 0 && !existed)
        disk_note_created(recorder->disk, path);
    if (fd >= 0 && existed && (flags & O_TRUNC) != 0) {
        disk_note_size(recorder->disk, fd, 0);
        give_room((uint64_t)st.st_size);
    }
    return fd;
}

/* Short if there is no room for the rest, as a full disk's. */
static ssize_t record_pwrite(int fd, const void *buffer, size_t bytes, off_t offset)
{
    struct stat st;
    begin_change();
    if (fstat(fd, &st) != 0)
        return -1;
    uint64_t over = bytes; /* beyond the end */
    if (offset < st.st_size)
        over =
            (uint64_t)(st.st_size - offset) < bytes ? bytes - (uint64_t)(st.st_size - offset) : 0;
    bytes -= over - take_room(over);
    if (bytes == 0)
        return refuse();
    ssize_t put = blx_sys_real.pwrite(fd, buffer, bytes, offset);
    if (put > 0)
        disk_note_write(recorder->disk, fd, buffer, (size_t)put, (uint64_t)offset);
    return put;
}

static int record_fsync(int fd)
{
    recorder->flushes++;
    if (recorder->before_flush(recorder->arg) == RECORD_REFUSED) {
        errno = EIO;
        return -1;
    }
    disk_note_flush(recorder->disk, fd);
    return 0;
}

static int record_ftruncate(int fd, off_t bytes)
{
    struct stat st;
    begin_change();
    if (fstat(fd, &st) == 0 && st.st_size > bytes)
        give_room((uint64_t)(st.st_size - bytes));
    int rc = blx_sys_real.ftruncate(fd, bytes);
    if (rc == 0)
        disk_note_size(recorder->disk, fd, (uint64_t)bytes);
    return rc;
}

static int record_fallocate(int fd, int mode, off_t offset, off_t bytes)
{
    begin_change();
    int rc = blx_sys_real.fallocate(fd, mode, offset, bytes);
    if (rc == 0 && (mode & FALLOC_FL_PUNCH_HOLE) != 0) {
        recorder->holes++;
        disk_note_hole(recorder->disk, fd, (uint64_t)offset, (uint64_t)bytes);
        give_room((uint64_t)bytes);
    } else if (rc == 0) {
        disk_note_size(recorder->disk, fd, (uint64_t)(offset + bytes));
    }
    return rc;
}

static int record_rename(const char *from, const char *to)
{
    struct stat st;
    begin_change();
    bool replaces = lstat(to, &st) == 0;
    int rc = blx_sys_real.rename(from, to);
    if (rc != 0)
        return rc;
    disk_note_rename(recorder->disk, from, to);
    if (replaces)
        give_room((uint64_t)st.st_size + NODE_BYTES);
    return 0;
}

static int record_unlink(const char *path)
{
    struct stat st;
    begin_change();
    bool existed = lstat(path, &st) == 0;
    int rc = blx_sys_real.unlink(path);
    if (rc == 0 && existed) {
        disk_note_unlink(recorder->disk, path);
        give_room((uint64_t)st.st_size + NODE_BYTES);
    }
    return rc;
}

static int record_mkdir(const char *path, mode_t mode)
{
    struct stat st;
    begin_change();
    if (lstat(path, &st) != 0 && take_room(NODE_BYTES) < NODE_BYTES)
        return refuse();
    int rc = blx_sys_real.mkdir(path, mode);
    if (rc == 0)
        disk_note_created(recorder->disk, path);
    return rc;
}

struct recorder *record_start(struct recorder *new_recorder)
{
    struct recorder *before = recorder;
    static struct blx_sys table;
    table = blx_sys_real;
    table.openat = record_openat;
    table.pwrite = record_pwrite;
    table.fsync = record_fsync;
    table.fdatasync = record_fsync;
    table.ftruncate = record_ftruncate;
    table.fallocate = record_fallocate;
    table.rename = record_rename;
    table.unlink = record_unlink;
    table.mkdir = record_mkdir;
    recorder = new_recorder;
    blx_sys = &table;
    return before;
}
