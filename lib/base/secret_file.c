/* SPDX-License-Identifier: Apache-2.0 */
#include "base/secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "base/text.h"

enum { SECRET_MODE = 0600 };

static int taken(const char *path, const char *way_out, struct blx_error *err)
{
    return blx_error_set(err, -EEXIST, "'%s' exists and is not replaced: %s", path, way_out);
}

static int check_folder(const char *path, struct blx_error *err)
{
    char folder[PATH_MAX];
    int rc = blx_path_format(folder, sizeof(folder), err, "%s", path);
    if (rc < 0)
        return rc;
    char *slash = strrchr(folder, '/');
    if (slash == NULL)
        blx_text_set(folder, ".");
    else
        slash[slash == folder ? 1 : 0] = '\0';
    if (access(folder, W_OK | X_OK) < 0)
        return blx_error_errno(err, -errno, "cannot write '%s'", path);
    return 0;
}

int blx_secret_file_check(const char *path, const char *way_out, struct blx_error *err)
{
    struct stat st;
    bool exists = lstat(path, &st) == 0;
    if (!exists && errno != ENOENT)
        return blx_error_errno(err, -errno, "cannot look at '%s'", path);
    if (exists && way_out != NULL)
        return taken(path, way_out, err);
    if (exists && !S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
        return blx_error_set(err, -EINVAL, "'%s' is not a regular file", path);
    return check_folder(path, err);
}

static int rename_noreplace(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -errno;
    /* The filesystem does not know that flag. */
    if (link(from, to) < 0)
        return -errno;
    return blx_sys->unlink(from) < 0 ? -errno : 0;
}

static int write_temporary(const char *path, const void *content, size_t bytes,
                           struct blx_error *err)
{
    BLX_CLEANUP_FD int fd =
        blx_open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, SECRET_MODE, err);
    if (fd < 0)
        return fd;
    int rc = blx_pwrite_full(fd, content, bytes, 0);
    if (rc == 0 && blx_sys->fsync(fd) < 0)
        rc = -errno;
    if (rc < 0) {
        blx_sys->unlink(path);
        return blx_error_errno(err, rc, "cannot write '%s'", path);
    }
    return 0;
}

/* The temporary name is random: the folder is a user's, and several may write into it at once. */
static int temporary_name(const char *path, char temporary[PATH_MAX], struct blx_error *err)
{
    uint64_t random;
    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return blx_error_errno(err, -errno, "cannot get random numbers");
    return blx_path_format(temporary, PATH_MAX, err, "%s.%016" PRIx64 ".tmp", path, random);
}

int blx_secret_file_write(const char *path, const void *content, size_t bytes, const char *way_out,
                          struct blx_error *err)
{
    char temporary[PATH_MAX];
    int rc = temporary_name(path, temporary, err);
    if (rc == 0)
        rc = write_temporary(temporary, content, bytes, err);
    if (rc < 0)
        return rc;
    if (way_out != NULL)
        rc = rename_noreplace(temporary, path);
    else if (blx_sys->rename(temporary, path) < 0)
        rc = -errno;
    if (rc == -EEXIST && way_out != NULL)
        taken(path, way_out, err);
    else if (rc < 0)
        blx_error_errno(err, rc, "cannot rename '%s' to '%s'", temporary, path);
    if (rc < 0) {
        blx_sys->unlink(temporary);
        return rc;
    }
    return blx_fsync_parent(path, err);
}
