/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/reboot/area.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

enum {
    SECTOR_BYTES = 512, /* a filesystem has no smaller blocks than its device */
    MODE = 0600,
    FOLDER_MODE = 0700,
    PIECE_BYTES = 64 * 1024,
    /* Of an extent whose bytes are not simply where it says. */
    STRANGE = FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_ENCODED |
              FIEMAP_EXTENT_DATA_ENCRYPTED | FIEMAP_EXTENT_NOT_ALIGNED | FIEMAP_EXTENT_DATA_INLINE |
              FIEMAP_EXTENT_DATA_TAIL | FIEMAP_EXTENT_UNWRITTEN | FIEMAP_EXTENT_SHARED,
};

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

/* Written, not only allocated: reading what was never written gives zeros, whatever is there. */
static int fill(int fd)
{
    static const uint8_t zeros[PIECE_BYTES];
    int rc = 0;
    for (uint64_t at = 0; rc == 0 && at < AGENT_AREA_BYTES; at += sizeof(zeros))
        rc = blx_pwrite_full(fd, zeros, sizeof(zeros), at);
    return rc == 0 && fsync(fd) < 0 ? -errno : rc;
}

int agent_area_make(const char *path, struct blx_error *err)
{
    char folder[PATH_MAX], temporary[PATH_MAX];
    struct stat st;
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == AGENT_AREA_BYTES)
        return 0;
    int rc = blx_path_format(temporary, sizeof(temporary), err, "%s.new", path);
    if (rc == 0)
        rc = blx_path_format(folder, sizeof(folder), err, "%s", path);
    char *slash = rc == 0 ? strrchr(folder, '/') : NULL;
    if (slash != NULL && slash != folder) {
        *slash = '\0';
        rc = blx_mkdir_parents(folder, FOLDER_MODE, err);
    }
    if (rc < 0)
        return rc;
    BLX_CLEANUP_FD int fd = blx_open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, MODE, err);
    if (fd < 0)
        return fd;
    rc = fill(fd);
    if (rc == 0 && rename(temporary, path) < 0)
        rc = -errno;
    if (rc < 0) {
        unlink(temporary);
        return blx_error_errno(err, rc, "cannot make '%s' of %d bytes", path, AGENT_AREA_BYTES);
    }
    return blx_fsync_parent(path, err);
}

static int refuse(const struct agent_area *area, const char *why, struct blx_error *err)
{
    return blx_error_set(err, -ENOTSUP, "'%s' %s", area->path, why);
}

static int check_file(struct agent_area *area, int fd, struct blx_error *err)
{
    struct stat st;
    struct statfs fs;
    if (fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0)
        return blx_error_errno(err, -errno, "cannot look at '%s'", area->path);
    if (!S_ISREG(st.st_mode) || st.st_size != AGENT_AREA_BYTES)
        return refuse(area, "is no file of 4 MiB: remove it, `blxrep agent arm` makes it", err);
    if (st.st_uid != 0 || (st.st_mode & 022) != 0)
        return refuse(area, "may be changed by other users than root: remove it", err);
    if (fs.f_type != EXT4_SUPER_MAGIC && fs.f_type != XFS_SUPER_MAGIC)
        return refuse(area, "lies on neither ext4 nor xfs", err);
    area->major = major(st.st_dev);
    area->minor = minor(st.st_dev);
    return 0;
}

static int find_extents(struct agent_area *area, int fd, struct blx_error *err)
{
    const size_t bytes = sizeof(struct fiemap) + AGENT_AREA_EXTENTS * sizeof(struct fiemap_extent);
    BLX_CLEANUP_FREE struct fiemap *map = calloc(1, bytes);
    if (map == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot find the blocks of '%s'", area->path);
    map->fm_length = AGENT_AREA_BYTES;
    map->fm_extent_count = AGENT_AREA_EXTENTS;
    if (ioctl(fd, FS_IOC_FIEMAP, map) < 0)
        return blx_error_errno(err, -errno, "cannot find the blocks of '%s'", area->path);
    uint64_t end = 0;
    for (uint32_t i = 0; i < map->fm_mapped_extents; i++) {
        const struct fiemap_extent *extent = &map->fm_extents[i];
        if ((extent->fe_flags & (uint32_t)STRANGE) != 0 || extent->fe_logical != end ||
            (extent->fe_physical | extent->fe_length) % SECTOR_BYTES != 0)
            return refuse(area, "has blocks that only its filesystem may write: remove it", err);
        area->extents[i].logical = end;
        area->extents[i].physical = extent->fe_physical;
        area->extents[i].bytes = extent->fe_length;
        end += extent->fe_length;
    }
    area->extent_count = map->fm_mapped_extents;
    return end >= AGENT_AREA_BYTES ? 0
                                   : refuse(area, "has a hole, or too many pieces: remove it", err);
}

/* The node of the number, whatever udev calls it. */
static int open_device(struct agent_area *area, struct blx_error *err)
{
    char link[64], target[PATH_MAX], node[PATH_MAX];
    struct stat st;
    snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", area->major, area->minor);
    ssize_t length = readlink(link, target, sizeof(target) - 1);
    if (length < 0)
        return blx_error_errno(err, -errno, "cannot find the device of '%s' (%u:%u)", area->path,
                               area->major, area->minor);
    target[length] = '\0';
    const char *slash = strrchr(target, '/');
    int rc = blx_path_format(node, sizeof(node), err, "/dev/%s", slash != NULL ? slash + 1 : "");
    if (rc < 0)
        return rc;
    for (char *c = node; (c = strchr(c, '!')) != NULL;)
        *c = '/'; /* as sysfs writes it */
    area->fd = blx_open(node, O_RDWR | O_DIRECT | O_DSYNC, 0, err);
    if (area->fd < 0)
        return area->fd;
    if (fstat(area->fd, &st) == 0 && S_ISBLK(st.st_mode) &&
        st.st_rdev == makedev(area->major, area->minor))
        return 0;
    agent_area_close(area);
    return blx_error_set(err, -ESTALE, "'%s' is not the device of '%s'", node, area->path);
}

int agent_area_open(const char *path, struct agent_area *area, struct blx_error *err)
{
    *area = (struct agent_area){.fd = -1};
    blx_text_set(area->path, path);
    BLX_CLEANUP_FD int fd = blx_open(path, O_RDONLY | O_NOFOLLOW, 0, err);
    if (fd < 0)
        return fd;
    int rc = check_file(area, fd, err);
    if (rc == 0)
        rc = find_extents(area, fd, err);
    return rc < 0 ? rc : open_device(area, err);
}

void agent_area_close(struct agent_area *area)
{
    if (area->fd >= 0)
        close(area->fd);
    area->fd = -1;
}

enum direction { READ, WRITE };

static int transfer(const struct agent_area *area, enum direction direction, uint8_t *buffer,
                    size_t bytes, uint64_t offset)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && bytes > 0 && i < area->extent_count; i++) {
        const uint64_t end = area->extents[i].logical + area->extents[i].bytes;
        if (offset < area->extents[i].logical || offset >= end)
            continue;
        const size_t piece = bytes < end - offset ? bytes : (size_t)(end - offset);
        const uint64_t at = area->extents[i].physical + (offset - area->extents[i].logical);
        rc = direction == READ ? blx_pread_full(area->fd, buffer, piece, at)
                               : blx_pwrite_full(area->fd, buffer, piece, at);
        buffer += piece;
        bytes -= piece;
        offset += piece;
    }
    return rc == 0 && bytes > 0 ? -ERANGE : rc;
}

int agent_area_read(const struct agent_area *area, void *buffer, size_t bytes, uint64_t offset,
                    struct blx_error *err)
{
    int rc = transfer(area, READ, buffer, bytes, offset);
    return rc < 0 ? blx_error_errno(err, rc, "cannot read the blocks of '%s'", area->path) : 0;
}

int agent_area_write(const struct agent_area *area, const void *buffer, size_t bytes,
                     uint64_t offset, struct blx_error *err)
{
    /* pwrite() does not change it. */
    int rc = transfer(area, WRITE, (uint8_t *)(uintptr_t)buffer, bytes, offset);
    return rc < 0 ? blx_error_errno(err, rc, "cannot write the blocks of '%s'", area->path) : 0;
}
