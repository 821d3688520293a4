/* SPDX-License-Identifier: Apache-2.0 */
#include "store/restore/restore_output_private.h"

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
#include "store/owner.h"

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
        return blx_error_copy(err, fd, &cause);
    output->fd = fd;
    return 0;
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
    blx_sys->unlink(from); /* if it fails a second name is left, no second file */
    return 0;
}

/* Locks the file, which must still have its name. */
static int lock_partial(const struct blx_restore_output *output, struct blx_error *err)
{
    if (flock(output->fd, LOCK_EX | LOCK_NB) != 0 || !is_same_file(output->fd, output->partial))
        return busy(output->partial, err);
    return 0;
}

/* A restore leaves a file of its own user, with one name, that nobody else may open. Any other file
 * may be somebody's who wants to read or change the image. */
static int check_ours(const char *path, const struct stat *st, struct blx_error *err)
{
    const char *why = NULL;
    if (st->st_uid != geteuid())
        why = "belongs to another user";
    else if (st->st_nlink != 1)
        why = "has another name too";
    else if ((st->st_mode & (S_IRWXG | S_IRWXO)) != 0)
        why = "is open to other users";
    if (why == NULL)
        return 0;
    return blx_error_set(err, -EPERM,
                         "'%s' %s, so it is not what a restore left: remove it, or make it yours "
                         "with mode 0600",
                         path, why);
}

/* What another run left. */
static int adopt_partial(struct blx_restore_output *output, struct blx_error *err)
{
    struct stat st;
    output->fd = blx_open(output->partial, O_RDWR | O_NOFOLLOW | O_NONBLOCK, 0, err);
    if (output->fd < 0)
        return output->fd;
    if (fstat(output->fd, &st) != 0 || !S_ISREG(st.st_mode))
        return blx_error_set(err, -EEXIST, "'%s' is in the way; remove it", output->partial);
    int rc = check_ours(output->partial, &st, err);
    if (rc < 0)
        return rc;
    output->compares = (output->flags & BLX_RESTORE_CONTINUE) == 0;
    return 0;
}

/* Whether a partial file is gone on with, if there is one. */
static bool adopts(const struct blx_restore_output *output)
{
    return (output->flags & (BLX_RESTORE_DELTA | BLX_RESTORE_RESUME)) != 0;
}

/* While it bears the partial name it looks like any other one: another run then goes on with it. */
static void hide(struct blx_restore_output *output)
{
    struct stat st;
    if (fstat(output->fd, &st) != 0)
        return;
    if (fchmod(output->fd, S_IRUSR | S_IWUSR) == 0) /* another user's file stays as it is */
        output->mode = st.st_mode & 07777;
}

static void show_again(const struct blx_restore_output *output)
{
    if (output->mode != 0)
        fchmod(output->fd, output->mode);
}

/* The image bears the partial name while it is neither the old one nor the new one. It is locked
 * before, so that no other restore takes it for what a dead one left. */
static int take_image(struct blx_restore_output *output, struct blx_error *err)
{
    struct blx_error cause = {0};
    int rc = remove_stale(output->partial, &cause);
    if (rc < 0 && rc != -ENOENT)
        return blx_error_copy(err, rc, &cause);
    output->fd = blx_open(output->path, O_RDWR | O_NOFOLLOW | O_NONBLOCK, 0, err);
    if (output->fd < 0)
        return output->fd;
    if (flock(output->fd, LOCK_EX | LOCK_NB) != 0)
        return busy(output->path, err);
    rc = rename_new(output->path, output->partial);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot rename '%s' to '%s'", output->path,
                               output->partial);
    output->renamed = output->compares = true;
    hide(output);
    return 0;
}

static int check_path(const struct blx_restore_output *output, bool *exists, struct blx_error *err)
{
    struct stat st;
    bool delta = (output->flags & BLX_RESTORE_DELTA) != 0;
    *exists = lstat(output->path, &st) == 0;
    if (*exists && !(output->flags & BLX_RESTORE_FORCE) && !delta)
        return blx_error_set(err, -EEXIST,
                             "'%s' exists already; remove it, or replace it with --force",
                             output->path);
    if (*exists && !S_ISREG(st.st_mode) && (delta || !S_ISLNK(st.st_mode)))
        return blx_error_set(err, -EINVAL, "'%s' is neither a file nor a block device",
                             output->path);
    return 0;
}

/* Below /dev an image would take memory, and the device that was meant would stay as it is. */
static int refuse_dev(const struct blx_restore_output *output, struct blx_error *err)
{
    struct stat st;
    char folder[PATH_MAX], real[PATH_MAX];
    int rc = blx_path_format(folder, sizeof(folder), err, "%s", output->path);
    if (rc < 0)
        return rc;
    char *slash = strrchr(folder, '/');
    if (slash == NULL)
        snprintf(folder, sizeof(folder), ".");
    else
        slash[slash == folder ? 1 : 0] = '\0';
    if (realpath(folder, real) == NULL)
        return 0; /* opening the file says why */
    bool is_dev = strcmp(real, "/dev") == 0 || strncmp(real, "/dev/", 5) == 0;
    if (!is_dev || strcmp(real, "/dev/shm") == 0 || strncmp(real, "/dev/shm/", 9) == 0)
        return 0;
    bool exists = lstat(output->path, &st) == 0;
    if (exists && !S_ISLNK(st.st_mode))
        return blx_error_set(err, -EINVAL,
                             "'%s' is no block device, and nothing else is written below /dev",
                             output->path);
    if (exists)
        return blx_error_set(err, -ENODEV,
                             "'%s' is a link that leads to no block device: plug the device in, or "
                             "name another one",
                             output->path);
    return blx_error_set(err, -ENODEV, "there is no block device '%s': see `lsblk -p`",
                         output->path);
}

static int open_file(struct blx_restore_output *output, struct blx_error *err)
{
    struct stat st;
    bool exists = false;
    int rc = refuse_dev(output, err);
    if (rc == 0)
        rc = check_path(output, &exists, err);
    if (rc == 0)
        rc = blx_path_format(output->partial, sizeof(output->partial), err, "%s.partial",
                             output->path);
    if (rc < 0)
        return rc;
    output->keeps = (output->flags & (BLX_RESTORE_DELTA | BLX_RESTORE_RESUME | BLX_RESTORE_KEEP |
                                      BLX_RESTORE_CONTINUE)) != 0;
    if ((output->flags & BLX_RESTORE_DELTA) && exists)
        rc = take_image(output, err);
    else if ((output->flags & BLX_RESTORE_CONTINUE) ||
             (adopts(output) && lstat(output->partial, &st) == 0))
        rc = adopt_partial(output, err);
    else
        rc = create_partial(output, err);
    if (rc == 0)
        rc = lock_partial(output, err);
    if (rc < 0) {
        if (!output->renamed)
            output->partial[0] = '\0'; /* not ours */
        return rc;
    }
    if (fstat(output->fd, &st) == 0 && (uint64_t)st.st_size == output->size_bytes)
        return 0;
    output->touched = true;
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
    int access = output->checks ? O_RDONLY : O_RDWR;
    snprintf(again, sizeof(again), "/proc/self/fd/%d", output->fd);
    int fd = blx_open(again, access | O_DIRECT, 0, NULL);
    output->direct_fd = fd < 0 ? -1 : fd;
}

static int open_device(struct blx_restore_output *output, struct blx_error *err)
{
    struct blx_error cause = {0};
    uint64_t bytes;
    int fd = blx_open(output->path, O_RDWR | ((output->flags & BLX_RESTORE_FORCE) ? 0 : O_EXCL), 0,
                      &cause);
    if (fd == -EBUSY)
        return blx_error_set(
            err, fd, "the device '%s' is mounted or in use; free it%s", output->path,
            (output->flags & BLX_RESTORE_FORCE) ? "" : ", or write it nevertheless with --force");
    if (fd < 0)
        return blx_error_copy(err, fd, &cause);
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

/* What was restored, and has its name by now. What the page cache has of it is dropped, so that the
 * ends that cannot be read past it come from the disk, too. */
static int open_checked(struct blx_restore_output *output, struct blx_error *err)
{
    output->compares = output->checks = true;
    output->fd = blx_open(output->path, O_RDONLY | O_NONBLOCK, 0, err);
    if (output->fd < 0)
        return output->fd;
    off_t bytes = lseek(output->fd, 0, SEEK_END);
    if (bytes < 0 || (uint64_t)bytes < output->size_bytes)
        return blx_error_set(
            err, -EUCLEAN, "'%s' has %lld bytes, and the volume that was restored there %llu",
            output->path, (long long)bytes, (unsigned long long)output->size_bytes);
    posix_fadvise(output->fd, 0, 0, POSIX_FADV_DONTNEED);
    open_direct(output);
    return 0;
}

static int open_target(const struct blx_restore_target *target, struct blx_restore_output *output,
                       struct blx_error *err)
{
    int rc = blx_path_format(output->path, sizeof(output->path), err, "%s", target->path);
    if (rc < 0)
        return rc;
    struct stat st;
    output->device = stat(output->path, &st) == 0 && S_ISBLK(st.st_mode);
    if ((output->flags & BLX_RESTORE_CHECK) != 0)
        return open_checked(output, err);
    if (output->device && (output->flags & BLX_RESTORE_RESUME))
        return blx_error_set(err, -EINVAL,
                             "'%s' is a device: --resume is for image files; --delta writes what "
                             "is still missing on a device",
                             output->path);
    output->compares = output->device && (output->flags & BLX_RESTORE_DELTA);
    return output->device ? open_device(output, err) : open_file(output, err);
}

int blx_restore_output_open(const struct blx_restore_target *target, uint64_t size_bytes,
                            struct blx_restore_output *output, struct blx_error *err)
{
    struct blx_owner_errand errand;
    *output = (struct blx_restore_output){
        .fd = -1, .direct_fd = -1, .flags = target->flags, .size_bytes = size_bytes};
    int rc = blx_owner_step_out(&errand, err);
    if (rc < 0)
        return rc;
    rc = open_target(target, output, err);
    int back = blx_owner_step_back(&errand, err);
    return rc < 0 ? rc : back;
}

static int give_name(struct blx_restore_output *output, struct blx_error *err)
{
    int rc;
    if (output->flags & BLX_RESTORE_FORCE)
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
    show_again(output);
    return blx_fsync_parent(output->path, err);
}

int blx_restore_output_sync(const struct blx_restore_output *output, struct blx_error *err)
{
    return blx_sys->fsync(output->fd) != 0 ? blx_restore_output_failed(output, -errno, err) : 0;
}

int blx_restore_output_finish(struct blx_restore_output *output, struct blx_error *err)
{
    struct blx_owner_errand errand;
    int rc = output->checks ? 0 : blx_restore_output_sync(output, err);
    if (rc < 0 || output->device || output->checks)
        return rc;
    rc = blx_owner_step_out(&errand, err);
    if (rc < 0)
        return rc;
    rc = give_name(output, err);
    int back = blx_owner_step_back(&errand, err);
    return rc < 0 ? rc : back;
}

/* Of a restore that failed. */
static void clear_away(struct blx_restore_output *output)
{
    struct blx_owner_errand errand;
    if (blx_owner_step_out(&errand, NULL) < 0)
        return;
    if (output->renamed && !output->touched) {
        show_again(output);
        rename_new(output->partial, output->path); /* its content is unchanged */
    } else if (!output->keeps) {
        blx_sys->unlink(output->partial);
    }
    blx_owner_step_back(&errand, NULL);
}

void blx_restore_output_done(struct blx_restore_output *output)
{
    if (output->partial[0] != '\0')
        clear_away(output);
    if (output->fd >= 0)
        close(output->fd);
    if (output->direct_fd >= 0)
        close(output->direct_fd);
    output->fd = output->direct_fd = -1;
    output->partial[0] = '\0';
}
