/* SPDX-License-Identifier: Apache-2.0 */
#include "sys.h"

#include <errno.h>
#include <stdio.h>

#include "base/sys.h"
#include "counter.h"

static struct fault_counter counter;

bool sys_fails(void)
{
    return fault_counter_hit(&counter, EIO);
}

static int sys_openat(int dir_fd, const char *path, int flags, mode_t mode)
{
    return sys_fails() ? -1 : blx_sys_real.openat(dir_fd, path, flags, mode);
}

static ssize_t sys_pread(int fd, void *buffer, size_t bytes, off_t offset)
{
    return sys_fails() ? -1 : blx_sys_real.pread(fd, buffer, bytes, offset);
}

/* A write that fails leaves half of it. */
static ssize_t sys_pwrite(int fd, const void *buffer, size_t bytes, off_t offset)
{
    if (!sys_fails())
        return blx_sys_real.pwrite(fd, buffer, bytes, offset);
    blx_sys_real.pwrite(fd, buffer, bytes / 2, offset);
    errno = EIO;
    return -1;
}

static int sys_fsync(int fd)
{
    (void)fd;
    return sys_fails() ? -1 : 0;
}

static int sys_ftruncate(int fd, off_t bytes)
{
    return sys_fails() ? -1 : blx_sys_real.ftruncate(fd, bytes);
}

static int sys_fallocate(int fd, int mode, off_t offset, off_t bytes)
{
    return sys_fails() ? -1 : blx_sys_real.fallocate(fd, mode, offset, bytes);
}

static int sys_rename(const char *from, const char *to)
{
    return sys_fails() ? -1 : blx_sys_real.rename(from, to);
}

static int sys_unlink(const char *path)
{
    return sys_fails() ? -1 : blx_sys_real.unlink(path);
}

static int sys_mkdir(const char *path, mode_t mode)
{
    return sys_fails() ? -1 : blx_sys_real.mkdir(path, mode);
}

static int sys_rmdir(const char *path)
{
    return sys_fails() ? -1 : blx_sys_real.rmdir(path);
}

static const struct blx_sys table = {
    .openat = sys_openat,
    .pread = sys_pread,
    .pwrite = sys_pwrite,
    .fsync = sys_fsync,
    .fdatasync = sys_fsync,
    .ftruncate = sys_ftruncate,
    .fallocate = sys_fallocate,
    .rename = sys_rename,
    .unlink = sys_unlink,
    .mkdir = sys_mkdir,
    .rmdir = sys_rmdir,
};

void sys_use_fast(void)
{
    blx_sys = &table;
}

void sys_arm(unsigned after, bool for_ever)
{
    sys_use_fast();
    fault_counter_arm(&counter, after, for_ever);
}

bool sys_disarm(void)
{
    return fault_counter_disarm(&counter);
}

/* By this call a file that must not replace another gets its name; the table does not have it. */
int __real_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags);
int __wrap_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags);
int __wrap_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    return sys_fails() ? -1 : __real_renameat2(from_dir, from, to_dir, to, flags);
}
