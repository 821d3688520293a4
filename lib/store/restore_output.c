#include "store/restore_output.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"

/* Smaller pieces may have neighbours that come soon. */
enum { DIRECT_MIN_BYTES = 128 << 10 };

static bool is_same_file(int fd, const char *path)
{
    struct stat by_fd, by_path;
    return fstat(fd, &by_fd) == 0 && lstat(path, &by_path) == 0 && by_fd.st_ino == by_path.st_ino &&
           by_fd.st_dev == by_path.st_dev;
}

static int busy(const char *path, struct blx_error *err)
{
    return blx_error_set(err, -EBUSY,
                         "another restore is writing '%s'; wait for it, or give another --output",
                         path);
}

/* A partial file whose writer is gone is removed; one whose writer holds its lock is not. */
static int remove_stale(const char *partial, struct blx_error *err)
{
    BLX_CLEANUP_FD int fd = blx_open(partial, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, err);
    if (fd < 0)
        return fd;
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return blx_error_set(err, -EEXIST, "'%s' is in the way; remove it", partial);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return busy(partial, err);
    if (is_same_file(fd, partial) && blx_sys->unlink(partial) != 0)
        return blx_error_errno(err, -errno, "cannot remove '%s'", partial);
    return 0;
}

static int create_partial(struct blx_restore_output *output, struct blx_error *err)
{
    struct blx_error cause = {0};
    int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW;
    int fd = blx_open(output->partial, flags, 0600, &cause);
    if (fd == -EEXIST) {
        int rc = remove_stale(output->partial, err);
        if (rc < 0)
            return rc;
        blx_error_clear(&cause);
        fd = blx_open(output->partial, flags, 0600, &cause);
    }
    if (fd < 0)
        return blx_error_set(err, fd, "%s", cause.message);
    output->fd = fd;
    return 0;
}

static int open_file(struct blx_restore_output *output, struct blx_error *err)
{
    struct stat st;
    bool exists = lstat(output->path, &st) == 0;
    if (exists && !output->force)
        return blx_error_set(err, -EEXIST,
                             "'%s' exists already; remove it, or replace it with --force",
                             output->path);
    if (exists && !S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
        return blx_error_set(err, -EINVAL, "'%s' is neither a file nor a block device",
                             output->path);
    char partial[PATH_MAX];
    int rc = blx_path_format(partial, sizeof(partial), err, "%s.partial", output->path);
    if (rc < 0)
        return rc;
    strcpy(output->partial, partial);
    rc = create_partial(output, err);
    if (rc == 0 &&
        (flock(output->fd, LOCK_EX | LOCK_NB) != 0 || !is_same_file(output->fd, output->partial)))
        rc = busy(output->partial, err);
    if (rc < 0) {
        output->partial[0] = '\0'; /* not ours */
        return rc;
    }
    if (blx_sys->ftruncate(output->fd, (off_t)output->size_bytes) != 0)
        return blx_error_errno(err, -errno, "cannot make '%s' as large as the volume",
                               output->partial);
    return 0;
}

/* The same device, whatever its name means by now. Where it cannot be had all goes through the page
 * cache. */
static void open_direct(struct blx_restore_output *output)
{
    char again[64];
    snprintf(again, sizeof(again), "/proc/self/fd/%d", output->fd);
    int fd = blx_open(again, O_RDWR | O_DIRECT, 0, NULL);
    output->direct_fd = fd < 0 ? -1 : fd;
}

static int open_device(struct blx_restore_output *output, struct blx_error *err)
{
    struct blx_error cause = {0};
    uint64_t bytes;
    int fd = blx_open(output->path, O_RDWR | (output->force ? 0 : O_EXCL), 0, &cause);
    if (fd == -EBUSY)
        return blx_error_set(err, fd, "the device '%s' is mounted or in use; free it%s",
                             output->path,
                             output->force ? "" : ", or write it nevertheless with --force");
    if (fd < 0)
        return blx_error_set(err, fd, "%s", cause.message);
    output->fd = fd;
    if (ioctl(fd, BLKGETSIZE64, &bytes) != 0)
        return blx_error_errno(err, -errno, "cannot get the size of the device '%s'", output->path);
    if (bytes < output->size_bytes)
        return blx_error_set(
            err, -ENOSPC, "the device '%s' has %llu bytes, the volume %llu; give a larger one",
            output->path, (unsigned long long)bytes, (unsigned long long)output->size_bytes);
    open_direct(output);
    return 0;
}

int blx_restore_output_open(const struct blx_restore_target *target, uint64_t size_bytes,
                            struct blx_restore_output *output, struct blx_error *err)
{
    *output = (struct blx_restore_output){
        .fd = -1, .direct_fd = -1, .force = target->force, .size_bytes = size_bytes};
    int rc = blx_path_format(output->path, sizeof(output->path), err, "%s", target->path);
    if (rc < 0)
        return rc;
    struct stat st;
    output->device = stat(output->path, &st) == 0 && S_ISBLK(st.st_mode);
    return output->device ? open_device(output, err) : open_file(output, err);
}

static int write_failed(const struct blx_restore_output *output, int rc, struct blx_error *err)
{
    return blx_error_errno(err, rc, "cannot write '%s'",
                           output->device ? output->path : output->partial);
}

static uint64_t clipped(const struct blx_restore_output *output, uint64_t offset, uint64_t bytes)
{
    uint64_t left = offset < output->size_bytes ? output->size_bytes - offset : 0;
    return bytes < left ? bytes : left;
}

/* How much of it goes past the page cache. */
static size_t direct_part(const struct blx_restore_output *output, const void *data, size_t bytes,
                          uint64_t offset)
{
    if (output->direct_fd < 0 || bytes < DIRECT_MIN_BYTES ||
        (uintptr_t)data % BLX_RESTORE_ALIGNMENT != 0 || offset % BLX_RESTORE_ALIGNMENT != 0)
        return 0;
    return bytes - bytes % BLX_RESTORE_ALIGNMENT;
}

int blx_restore_output_write(const struct blx_restore_output *output, const void *data,
                             uint64_t bytes, uint64_t offset_bytes, struct blx_error *err)
{
    size_t wanted = (size_t)clipped(output, offset_bytes, bytes);
    size_t direct = direct_part(output, data, wanted, offset_bytes);
    int rc = direct > 0 ? blx_pwrite_full(output->direct_fd, data, direct, offset_bytes) : 0;
    if (rc == -EINVAL)
        direct = 0; /* the device wants a larger alignment */
    else if (rc < 0)
        return write_failed(output, rc, err);
    rc = blx_pwrite_full(output->fd, (const uint8_t *)data + direct, wanted - direct,
                         offset_bytes + direct);
    return rc < 0 ? write_failed(output, rc, err) : 0;
}

/* An error of the disk is not lost here: fsync tells it. */
void blx_restore_output_flush(const struct blx_restore_output *output)
{
    sync_file_range(output->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

/* For what the device cannot zero by itself, such as a tail that is no multiple of its sectors. */
static int write_zeros(const struct blx_restore_output *output, uint64_t offset, uint64_t bytes,
                       struct blx_error *err)
{
    static const uint8_t zeros[65536];
    while (bytes > 0) {
        size_t piece = bytes < sizeof(zeros) ? (size_t)bytes : sizeof(zeros);
        int rc = blx_pwrite_full(output->fd, zeros, piece, offset);
        if (rc < 0)
            return write_failed(output, rc, err);
        offset += piece;
        bytes -= piece;
    }
    return 0;
}

int blx_restore_output_zero(const struct blx_restore_output *output, uint64_t offset_bytes,
                            uint64_t bytes, struct blx_error *err)
{
    if (!output->device)
        return 0;
    bytes = clipped(output, offset_bytes, bytes);
    uint64_t range[2] = {offset_bytes, bytes};
    if (bytes == 0 || ioctl(output->fd, BLKZEROOUT, range) == 0)
        return 0;
    if (errno == EINVAL || errno == EOPNOTSUPP || errno == ENOTTY)
        return write_zeros(output, offset_bytes, bytes, err);
    return write_failed(output, -errno, err);
}

/* Without a moment in which another file of that name could be replaced. */
static int rename_new(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -errno;
    if (link(from, to) != 0)
        return -errno;
    blx_sys->unlink(from); /* where it fails a second name is left, no second file */
    return 0;
}

static int sync_parent(const char *path, struct blx_error *err)
{
    char parent[PATH_MAX];
    strcpy(parent, path);
    char *slash = strrchr(parent, '/');
    if (slash == NULL)
        return blx_fsync_dir(".", err);
    slash[slash == parent ? 1 : 0] = '\0';
    return blx_fsync_dir(parent, err);
}

int blx_restore_output_finish(struct blx_restore_output *output, struct blx_error *err)
{
    if (blx_sys->fsync(output->fd) != 0)
        return write_failed(output, -errno, err);
    if (output->device)
        return 0;
    int rc;
    if (output->force)
        rc = blx_sys->rename(output->partial, output->path) != 0 ? -errno : 0;
    else
        rc = rename_new(output->partial, output->path);
    if (rc == -EEXIST)
        return blx_error_set(err, rc, "'%s' came into being meanwhile; it was not replaced",
                             output->path);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot rename '%s' to '%s'", output->partial,
                               output->path);
    output->partial[0] = '\0';
    return sync_parent(output->path, err);
}

void blx_restore_output_done(struct blx_restore_output *output)
{
    if (output->partial[0] != '\0')
        blx_sys->unlink(output->partial);
    if (output->fd >= 0)
        close(output->fd);
    if (output->direct_fd >= 0)
        close(output->direct_fd);
    output->fd = output->direct_fd = -1;
    output->partial[0] = '\0';
}
