/* SPDX-License-Identifier: Apache-2.0 */
/* A folder as a depot: a key is a path below it. A file comes into its place whole and flushed. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "object/depot_private.h"

enum { PIECE_BYTES = 256 << 10 };

struct folder {
    struct object_depot depot;
};

static void folder_close(struct object_depot *depot)
{
    free(depot);
}

static int path_of(const struct object_depot *depot, const char *key, const char *end,
                   char path[PATH_MAX], struct blx_error *err)
{
    return blx_path_format(path, PATH_MAX, err, "%s/%s%s", depot->name, key, end);
}

/* 1 if the key is there with that size. */
static int is_there(const struct object_depot *depot, const char *key, uint64_t bytes,
                    struct blx_error *err)
{
    char path[PATH_MAX];
    struct stat st;
    int rc = path_of(depot, key, "", path, err);
    return rc < 0 ? rc : stat(path, &st) == 0 && (uint64_t)st.st_size == bytes;
}

/* Makes the folder that the file is to lie in, and its parents' names durable up to the depot. */
static int make_folder(const struct object_depot *depot, const char *file, struct blx_error *err)
{
    char dir[PATH_MAX];
    int rc = blx_path_format(dir, sizeof(dir), err, "%s", file);
    if (rc < 0)
        return rc;
    *strrchr(dir, '/') = '\0';
    if (access(dir, F_OK) == 0)
        return 0;
    rc = blx_mkdir_parents(dir, 0700, err);
    while (rc == 0 && strlen(dir) > strlen(depot->name)) {
        rc = blx_fsync_parent(dir, err);
        *strrchr(dir, '/') = '\0';
    }
    return rc;
}

/* Makes an empty PATH.tmp and its folders. The descriptor, or -errno. */
static int make_file(const struct object_depot *depot, const char *temporary, struct blx_error *err)
{
    int rc = make_folder(depot, temporary, err);
    return rc < 0 ? rc : blx_open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600, err);
}

static int put_in_place(int fd, const char *temporary, const char *path, struct blx_error *err)
{
    if (blx_sys->fsync(fd) != 0)
        return blx_error_errno(err, -errno, "cannot flush '%s'", temporary);
    if (blx_sys->rename(temporary, path) != 0)
        return blx_error_errno(err, -errno, "cannot rename '%s' to '%s'", temporary, path);
    return blx_fsync_parent(path, err);
}

/* Copies, and hashes what is copied if a digest is given. */
static int copy_bytes(int from, int to, uint64_t bytes, struct object_digest *digest,
                      const char *path, struct blx_error *err)
{
    BLX_CLEANUP_FREE char *buffer = malloc(PIECE_BYTES);
    if (buffer == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot copy '%s'", path);
    for (uint64_t at = 0; at < bytes;) {
        size_t step = bytes - at < PIECE_BYTES ? (size_t)(bytes - at) : PIECE_BYTES;
        int rc = blx_pread_full(from, buffer, step, at);
        if (rc == 0)
            rc = blx_pwrite_full(to, buffer, step, at);
        if (rc < 0)
            return blx_error_errno(err, rc, "cannot copy '%s'", path);
        if (digest != NULL)
            object_digest_add(digest, buffer, step);
        at += step;
    }
    return 0;
}

static int folder_put_file(struct object_depot *depot, const char *key, int fd, uint64_t bytes,
                           const struct object_lock *lock, struct blx_error *err)
{
    char path[PATH_MAX], temporary[PATH_MAX];
    (void)lock;
    int rc = is_there(depot, key, bytes, err);
    if (rc == 0)
        rc = path_of(depot, key, "", path, err);
    else
        return rc;
    if (rc == 0)
        rc = path_of(depot, key, ".tmp", temporary, err);
    BLX_CLEANUP_FD int made = rc == 0 ? make_file(depot, temporary, err) : rc;
    if (made < 0)
        return made;
    rc = copy_bytes(fd, made, bytes, NULL, path, err);
    return rc == 0 ? put_in_place(made, temporary, path, err) : rc;
}

static int folder_put(struct object_depot *depot, const char *key, const void *content,
                      size_t bytes, const struct object_lock *lock, struct blx_error *err)
{
    char path[PATH_MAX], temporary[PATH_MAX];
    (void)lock;
    int rc = is_there(depot, key, bytes, err);
    if (rc != 0)
        return rc;
    rc = path_of(depot, key, "", path, err);
    if (rc == 0)
        rc = path_of(depot, key, ".tmp", temporary, err);
    BLX_CLEANUP_FD int made = rc == 0 ? make_file(depot, temporary, err) : rc;
    if (made < 0)
        return made;
    rc = blx_pwrite_full(made, content, bytes, 0);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot write '%s'", temporary);
    return put_in_place(made, temporary, path, err);
}

static int folder_set_lock(struct object_depot *depot, const char *key,
                           const struct object_lock *lock, struct blx_error *err)
{
    (void)lock;
    return blx_error_set(err, -ENOTSUP, "cannot lock '%s': '%s' is a folder", key, depot->name);
}

static int wrong_content(const char *path, struct blx_error *err)
{
    return blx_error_set(err, -EBADMSG,
                         "'%s' has another content than its name says: it is damaged", path);
}

static int folder_fetch(struct object_depot *depot, const char *key, const uint8_t *hash,
                        uint64_t bytes, int fd, struct blx_error *err)
{
    char path[PATH_MAX];
    struct stat st;
    struct object_digest digest;
    uint8_t found[OBJECT_HASH_BYTES];
    int rc = path_of(depot, key, "", path, err);
    BLX_CLEANUP_FD int from = rc == 0 ? blx_open(path, O_RDONLY | O_NOFOLLOW, 0, err) : rc;
    if (from < 0)
        return from;
    if (fstat(from, &st) != 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != bytes)
        return wrong_content(path, err);
    rc = object_digest_begin(&digest, OBJECT_DIGEST_PLAIN, err);
    if (rc == 0)
        rc = copy_bytes(from, fd, bytes, &digest, path, err);
    object_digest_end(&digest, found, NULL);
    return rc == 0 && memcmp(found, hash, sizeof(found)) != 0 ? wrong_content(path, err) : rc;
}

static int folder_read_ranges(struct object_depot *depot, struct object_range *ranges, size_t count,
                              struct blx_error *err)
{
    (void)err;
    for (size_t i = 0; i < count; i++) {
        char path[PATH_MAX];
        if (path_of(depot, ranges[i].key, "", path, NULL) < 0)
            continue;
        BLX_CLEANUP_FD int fd = blx_open(path, O_RDONLY | O_NOFOLLOW, 0, NULL);
        ranges[i].is_read = fd >= 0 && blx_pread_full(fd, ranges[i].content, ranges[i].bytes,
                                                      ranges[i].offset) == 0;
    }
    return 0;
}

static int folder_read(struct object_depot *depot, const char *key, const uint8_t *hash,
                       size_t limit, void **content, size_t *bytes, struct blx_error *err)
{
    char path[PATH_MAX];
    struct object_digest digest;
    uint8_t found[OBJECT_HASH_BYTES];
    int rc = path_of(depot, key, "", path, err);
    if (rc == 0)
        rc = blx_file_read(path, limit, content, bytes, err);
    if (rc < 0)
        return rc;
    rc = object_digest_begin(&digest, OBJECT_DIGEST_PLAIN, err);
    if (rc == 0)
        object_digest_add(&digest, *content, *bytes);
    object_digest_end(&digest, found, NULL);
    if (rc == 0 && memcmp(found, hash, sizeof(found)) != 0)
        rc = wrong_content(path, err);
    if (rc < 0)
        free(*content);
    return rc;
}

static int each_entry(struct object_depot *depot, const char *folder, mode_t type,
                      object_depot_visit_key *visit, void *arg, struct blx_error *err)
{
    char path[PATH_MAX];
    int rc = path_of(depot, folder, "", path, err);
    if (rc < 0)
        return rc;
    BLX_CLEANUP_DIR DIR *dir = opendir(path);
    if (dir == NULL && errno == ENOENT)
        return 0;
    if (dir == NULL)
        return blx_error_errno(err, -errno, "cannot read '%s'", path);
    for (;;) {
        struct stat st;
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL)
            return errno != 0 ? blx_error_errno(err, -errno, "cannot read '%s'", path) : 0;
        size_t length = strlen(entry->d_name);
        bool unfinished = length > 4 && strcmp(entry->d_name + length - 4, ".tmp") == 0;
        if (entry->d_name[0] == '.' || unfinished ||
            fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
            (st.st_mode & S_IFMT) != type)
            continue;
        rc = visit(arg, entry->d_name, st.st_mtime);
        if (rc < 0)
            return rc;
    }
}

static int folder_list(struct object_depot *depot, const char *folder,
                       object_depot_visit_key *visit, void *arg, struct blx_error *err)
{
    return each_entry(depot, folder, S_IFREG, visit, arg, err);
}

struct subfolders {
    object_depot_visit *visit;
    void *arg;
};

static int take_subfolder(void *arg, const char *name, time_t written)
{
    const struct subfolders *subfolders = arg;
    (void)written;
    return subfolders->visit(subfolders->arg, name);
}

static int folder_list_folders(struct object_depot *depot, const char *folder,
                               object_depot_visit *visit, void *arg, struct blx_error *err)
{
    struct subfolders subfolders = {.visit = visit, .arg = arg};
    return each_entry(depot, folder, S_IFDIR, take_subfolder, &subfolders, err);
}

static int folder_remove(struct object_depot *depot, const char *key, struct blx_error *err)
{
    char path[PATH_MAX];
    int rc = path_of(depot, key, "", path, err);
    if (rc == 0 && blx_sys->unlink(path) != 0 && errno != ENOENT)
        rc = blx_error_errno(err, -errno, "cannot remove '%s'", path);
    return rc;
}

/* What was interrupted is overwritten by the next copy of the same object. */
static int folder_clean(struct object_depot *depot, const char *folder, struct blx_error *err)
{
    (void)depot, (void)folder, (void)err;
    return 0;
}

static const struct object_depot_ops folder_ops = {
    .close = folder_close,
    .put_file = folder_put_file,
    .put = folder_put,
    .set_lock = folder_set_lock,
    .fetch = folder_fetch,
    .read = folder_read,
    .read_ranges = folder_read_ranges,
    .list = folder_list,
    .list_folders = folder_list_folders,
    .remove = folder_remove,
    .clean = folder_clean,
};

int object_depot_open_folder(const char *path, struct object_depot **depot, struct blx_error *err)
{
    struct folder *made = calloc(1, sizeof(*made));
    char *name = realpath(path, NULL);
    if (made == NULL || name == NULL) {
        int rc = made == NULL ? -ENOMEM : -errno;
        free(made);
        free(name);
        return blx_error_errno(err, rc, "cannot use the folder '%s'", path);
    }
    made->depot = (struct object_depot){.ops = &folder_ops, .name = name};
    *depot = &made->depot;
    return 0;
}
