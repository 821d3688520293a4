/* SPDX-License-Identifier: Apache-2.0 */
#include "store/directory_private.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
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

static const char hidden_end[] = ".removed";

int blx_directory_hidden(const char *path, char hidden[PATH_MAX], struct blx_error *err)
{
    const char *name = strrchr(path, '/') + 1;
    return blx_path_format(hidden, PATH_MAX, err, "%.*s.%s%s", (int)(name - path), path, name,
                           hidden_end);
}

static bool is_hidden(const char *name)
{
    size_t length = strlen(name), end = sizeof(hidden_end) - 1;
    return name[0] == '.' && length > end + 1 && strcmp(name + length - end, hidden_end) == 0;
}

static int remove_entry(void *arg, const char *name, struct blx_error *err)
{
    char path[PATH_MAX];
    struct stat st;
    int rc = blx_path_format(path, sizeof(path), err, "%s/%s", (const char *)arg, name);
    if (rc < 0)
        return rc;
    bool is_directory = lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
    if (is_directory)
        rc = blx_directory_each(path, remove_entry, path, err);
    if (rc == 0 && (is_directory ? blx_sys->rmdir(path) : blx_sys->unlink(path)) != 0 &&
        errno != ENOENT)
        rc = blx_error_errno(err, -errno, "cannot remove '%s'", path);
    return rc;
}

/* One with a hidden name. */
static int remove_hidden(const char *hidden, struct blx_error *err)
{
    int rc = blx_directory_each(hidden, remove_entry, (void *)(uintptr_t)hidden, err);
    if (rc == 0 && blx_sys->rmdir(hidden) != 0 && errno != ENOENT)
        rc = blx_error_errno(err, -errno, "cannot remove '%s'", hidden);
    return rc;
}

int blx_directory_remove(const char *path, struct blx_error *err)
{
    char hidden[PATH_MAX];
    int rc = blx_directory_hidden(path, hidden, err);
    if (rc == 0) /* the rest of an earlier removal */
        rc = remove_hidden(hidden, err);
    if (rc < 0)
        return rc;
    if (blx_sys->rename(path, hidden) != 0)
        return errno == ENOENT ? 0 : blx_error_errno(err, -errno, "cannot remove '%s'", path);
    rc = blx_fsync_parent(path, err);
    return rc == 0 ? remove_hidden(hidden, err) : rc;
}

struct sweep {
    const char *path;
    size_t removed;
};

static int sweep_entry(void *arg, const char *name, struct blx_error *err)
{
    struct sweep *sweep = arg;
    char path[PATH_MAX];
    if (!is_hidden(name))
        return 0;
    int rc = blx_path_format(path, sizeof(path), err, "%s/%s", sweep->path, name);
    if (rc == 0)
        rc = remove_hidden(path, err);
    sweep->removed += rc == 0;
    return rc;
}

int blx_directory_remove_hidden(const char *path, size_t *removed, struct blx_error *err)
{
    struct sweep sweep = {.path = path};
    int rc = blx_directory_each(path, sweep_entry, &sweep, err);
    *removed += sweep.removed;
    return rc;
}
