#include "sys.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>

#include "base/sys.h"

static bool lasting;
static unsigned allowed = UINT_MAX;
static atomic_uint calls;

static bool fails(void)
{
    unsigned call = atomic_fetch_add(&calls, 1);
    if (lasting ? call < allowed : call != allowed)
        return false;
    errno = EIO;
    return true;
}

static int sys_openat(int dir_fd, const char *path, int flags, mode_t mode)
{
    return fails() ? -1 : blx_sys_real.openat(dir_fd, path, flags, mode);
}

static ssize_t sys_pread(int fd, void *buffer, size_t bytes, off_t offset)
{
    return fails() ? -1 : blx_sys_real.pread(fd, buffer, bytes, offset);
}

/* A write that fails leaves half of it. */
static ssize_t sys_pwrite(int fd, const void *buffer, size_t bytes, off_t offset)
{
    if (!fails())
        return blx_sys_real.pwrite(fd, buffer, bytes, offset);
    blx_sys_real.pwrite(fd, buffer, bytes / 2, offset);
    errno = EIO;
    return -1;
}

static int sys_fsync(int fd)
{
    (void)fd;
    return fails() ? -1 : 0;
}

static int sys_ftruncate(int fd, off_t bytes)
{
    return fails() ? -1 : blx_sys_real.ftruncate(fd, bytes);
}

static int sys_fallocate(int fd, int mode, off_t offset, off_t bytes)
{
    return fails() ? -1 : blx_sys_real.fallocate(fd, mode, offset, bytes);
}

static int sys_rename(const char *from, const char *to)
{
    return fails() ? -1 : blx_sys_real.rename(from, to);
}

static int sys_unlink(const char *path)
{
    return fails() ? -1 : blx_sys_real.unlink(path);
}

static int sys_mkdir(const char *path, mode_t mode)
{
    return fails() ? -1 : blx_sys_real.mkdir(path, mode);
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
};

void sys_use_fast(void)
{
    lasting = false;
    allowed = UINT_MAX;
    atomic_store(&calls, 0);
    blx_sys = &table;
}

void sys_arm(unsigned after, bool for_ever)
{
    sys_use_fast();
    lasting = for_ever;
    allowed = after;
}

bool sys_disarm(void)
{
    bool failed = atomic_load(&calls) > allowed;
    sys_use_fast();
    return failed;
}
