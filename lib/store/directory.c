/* SPDX-License-Identifier: Apache-2.0 */
#include "store/directory_private.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"

int blx_directory_make(const char *path, struct blx_error *err)
{
    if (blx_sys->mkdir(path, 0700) != 0 && errno != EEXIST)
        return blx_error_errno(err, -errno, "cannot make the directory '%s'", path);
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return blx_error_set(err, -ENOTDIR, "'%s' exists and is no directory", path);
    return blx_fsync_parent(path, err);
}

int blx_directory_each(const char *path,
                       int (*visit)(void *arg, const char *name, struct blx_error *err), void *arg,
                       struct blx_error *err)
{
    BLX_CLEANUP_DIR DIR *dir = opendir(path);
    if (dir == NULL && errno == ENOENT)
        return 0;
    if (dir == NULL)
        return blx_error_errno(err, -errno, "cannot read the directory '%s'", path);
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL)
            break;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        int rc = visit(arg, entry->d_name, err);
        if (rc != 0)
            return rc;
    }
    if (errno != 0)
        return blx_error_errno(err, -errno, "cannot read the directory '%s'", path);
    return 0;
}
