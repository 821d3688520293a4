/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/pki_folder_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"

enum { DIR_MODE = 0700 };

void blx_pki_close(struct blx_pki *pki)
{
    blx_cleanup_fd(&pki->lock_fd);
}

/* A file that root makes must stay usable for the daemon's user, DIR's owner. Only files of root's
 * are given away. */
static int give_to_owner(int fd, const struct blx_pki *pki)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    bool ours =
        st.st_uid == 0 && (S_ISDIR(st.st_mode) || (S_ISREG(st.st_mode) && st.st_nlink == 1));
    if (geteuid() != 0 || pki->uid == 0 || !ours)
        return 0;
    return fchown(fd, pki->uid, pki->gid) < 0 ? -errno : 0;
}

/* Whoever can write there can put a key of his own in place of the CA's. */
static int check_dir(int fd, const struct blx_pki *pki, const char *path, struct blx_error *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return blx_error_errno(err, -errno, "cannot look at '%s'", path);
    if (st.st_uid != 0 && st.st_uid != pki->uid)
        return blx_error_set(err, -EPERM,
                             "'%s' belongs to user %u, and the data directory to user %u: if its "
                             "keys can be trusted, chown it",
                             path, st.st_uid, pki->uid);
    if ((st.st_mode & 022) != 0)
        return blx_error_set(err, -EPERM,
                             "others may write to '%s': if its keys can be trusted, chmod 700 it",
                             path);
    return 0;
}

int blx_pki_make_dir(const struct blx_pki *pki, const char *path, struct blx_error *err)
{
    if (blx_sys->mkdir(path, DIR_MODE) < 0 && errno != EEXIST)
        return blx_error_errno(err, -errno, "cannot make the directory '%s'", path);
    BLX_CLEANUP_FD int fd = blx_open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, err);
    if (fd < 0)
        return fd;
    int rc = check_dir(fd, pki, path, err);
    if (rc < 0)
        return rc;
    rc = give_to_owner(fd, pki);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot give '%s' to the owner of the data directory",
                               path);
    return blx_fsync_parent(path, err);
}

static int take_lock(struct blx_pki *pki, struct blx_error *err)
{
    char path[PATH_MAX];
    int rc = blx_path_format(path, sizeof(path), err, "%s/lock", pki->dir);
    if (rc < 0)
        return rc;
    BLX_CLEANUP_FD int fd =
        blx_open(path, O_RDWR | O_CREAT | O_NOFOLLOW, BLX_PKI_PRIVATE_MODE, err);
    if (fd < 0)
        return fd;
    rc = give_to_owner(fd, pki);
    while (rc == 0 && flock(fd, LOCK_EX) < 0) {
        if (errno != EINTR)
            rc = -errno;
    }
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot lock '%s'", path);
    pki->lock_fd = blx_take_fd(&fd);
    return 0;
}

int blx_pki_lock(const char *data_dir, struct blx_pki *pki, struct blx_error *err)
{
    struct stat st;
    if (stat(data_dir, &st) < 0)
        return blx_error_errno(err, -errno, "cannot use the data directory '%s'", data_dir);
    if (!S_ISDIR(st.st_mode))
        return blx_error_set(err, -ENOTDIR, "the data directory '%s' is not a directory", data_dir);
    pki->uid = st.st_uid;
    pki->gid = st.st_gid;
    int rc = blx_path_format(pki->dir, sizeof(pki->dir), err, "%s/pki", data_dir);
    if (rc == 0)
        rc = blx_pki_make_dir(pki, pki->dir, err);
    return rc < 0 ? rc : take_lock(pki, err);
}

int blx_pki_path(const struct blx_pki *pki, const char *name, char path[PATH_MAX],
                 struct blx_error *err)
{
    return blx_path_format(path, PATH_MAX, err, "%s/%s", pki->dir, name);
}

/* Writes a new file at `path` and makes it durable. */
static int write_new(const char *path, BIO *content, mode_t mode, const struct blx_pki *pki,
                     struct blx_error *err)
{
    char *bytes = NULL;
    long length = BIO_get_mem_data(content, &bytes);
    BLX_CLEANUP_FD int fd = blx_open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode, err);
    if (fd < 0)
        return fd;
    int rc = give_to_owner(fd, pki);
    if (rc == 0)
        rc = blx_pwrite_full(fd, bytes, (size_t)length, 0);
    if (rc == 0 && blx_sys->fsync(fd) < 0)
        rc = -errno;
    if (rc < 0) {
        blx_sys->unlink(path);
        return blx_error_errno(err, rc, "cannot write '%s'", path);
    }
    return 0;
}

/* Under the lock, so one temporary name is enough, and a file of that name was left by a crash. No
 * agent's ID begins with a dot. As "revoked/ID.tmp" it would be the file of the agent "ID.tmp". */
int blx_pki_write(const struct blx_pki *pki, const char *name, BIO *content, mode_t mode,
                  struct blx_error *err)
{
    char path[PATH_MAX];
    char temporary[PATH_MAX];
    blx_assert(pki->lock_fd >= 0);
    int rc = blx_pki_path(pki, name, path, err);
    if (rc == 0)
        rc = blx_path_format(temporary, sizeof(temporary), err, "%s/.new.tmp", pki->dir);
    if (rc < 0)
        return rc;
    if (blx_sys->unlink(temporary) < 0 && errno != ENOENT)
        return blx_error_errno(err, -errno, "cannot remove '%s'", temporary);
    rc = write_new(temporary, content, mode, pki, err);
    if (rc < 0)
        return rc;
    if (blx_sys->rename(temporary, path) < 0) {
        rc = blx_error_errno(err, -errno, "cannot rename '%s' to '%s'", temporary, path);
        blx_sys->unlink(temporary);
        return rc;
    }
    return blx_fsync_parent(path, err);
}
