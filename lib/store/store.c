/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "store/directory_private.h"

#define FORMAT_TEXT "blxrep store "
enum { LISTED_AGENTS = 8 };

static int keep_path(const char *data_dir, struct blx_store *store, struct blx_error *err)
{
    size_t length = strlen(data_dir);
    while (length > 1 && data_dir[length - 1] == '/')
        length--;
    if (length == 0)
        return blx_error_set(err, -EINVAL, "the data directory's name is empty; give --data-dir");
    return blx_path_format(store->data_dir, sizeof(store->data_dir), err, "%.*s", (int)length,
                           data_dir);
}

/* 0 for a store of our format; -ENOENT if there is no DIR/format. */
static int check_format(const struct blx_store *store, struct blx_error *err)
{
    char path[PATH_MAX];
    int rc = blx_path_format(path, sizeof(path), err, "%s/format", store->data_dir);
    if (rc < 0)
        return rc;
    BLX_CLEANUP_FREE void *content = NULL;
    size_t bytes;
    rc = blx_file_read(path, 4096, &content, &bytes, err);
    if (rc < 0)
        return rc;
    const char *text = content;
    char *end;
    if (strncmp(text, FORMAT_TEXT, strlen(FORMAT_TEXT)) != 0)
        return blx_error_set(err, -EBADMSG, "'%s' is damaged, or '%s' is no store of blxrep", path,
                             store->data_dir);
    unsigned long format = strtoul(text + strlen(FORMAT_TEXT), &end, 10);
    if (strcmp(end, "\n") != 0 || format == 0)
        return blx_error_set(err, -EBADMSG, "'%s' is damaged; it should read '" FORMAT_TEXT "%d'",
                             path, BLX_STORE_FORMAT);
    if (format > BLX_STORE_FORMAT)
        return blx_error_set(
            err, -ENOTSUP,
            "the store '%s' has format %lu, this program knows up to %d; use a newer blxrep",
            store->data_dir, format, BLX_STORE_FORMAT);
    return 0;
}

/* What may lie in a directory that is to become a store: a fresh filesystem's, and what a crash in
 * make_format() leaves. */
static bool is_harmless(const char *name)
{
    return strcmp(name, "lost+found") == 0 || strcmp(name, "lock") == 0 ||
           strncmp(name, "format.", strlen("format.")) == 0;
}

static int check_empty(const struct blx_store *store, struct blx_error *err)
{
    BLX_CLEANUP_DIR DIR *dir = opendir(store->data_dir);
    if (dir == NULL)
        return blx_error_errno(err, -errno, "cannot read the data directory '%s'", store->data_dir);
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (!is_harmless(entry->d_name))
            return blx_error_set(err, -ENOTEMPTY,
                                 "'%s' is not empty and no store of blxrep (it holds '%s'); give "
                                 "an empty directory",
                                 store->data_dir, entry->d_name);
    }
    return 0;
}

/* Under a name of its own first, so that an enroll and a dispatcher that start at once do not
 * disturb each other. */
static int make_format(const struct blx_store *store, struct blx_error *err)
{
    char own[PATH_MAX], path[PATH_MAX], text[64];
    int rc = check_empty(store, err);
    if (rc == 0)
        rc = blx_path_format(own, sizeof(own), err, "%s/format.%ld", store->data_dir,
                             (long)getpid());
    if (rc == 0)
        rc = blx_path_format(path, sizeof(path), err, "%s/format", store->data_dir);
    if (rc < 0)
        return rc;
    int length = snprintf(text, sizeof(text), FORMAT_TEXT "%d\n", BLX_STORE_FORMAT);
    rc = blx_file_replace(own, text, (size_t)length, 0644, err);
    if (rc < 0)
        return rc;
    if (blx_sys->rename(own, path) != 0) {
        rc = blx_error_errno(err, -errno, "cannot make '%s'", path);
        blx_sys->unlink(own);
        return rc;
    }
    return 0;
}

static int lock(const struct blx_store *store, int fd, const char *path, struct blx_error *err)
{
    if (flock(fd, (store->shared ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0)
        return 0;
    if (errno == EWOULDBLOCK)
        return blx_error_set(err, -EBUSY,
                             "another dispatcher is running on '%s'; stop it first, or give "
                             "another --data-dir%s",
                             store->data_dir,
                             store->shared ? "; or have it share the directory (shared), too" : "");
    return blx_error_errno(err, -errno, "cannot lock '%s'", path);
}

int blx_store_check_lock(const struct blx_store *store)
{
    int rc = flock(store->lock_fd, (store->shared ? LOCK_SH : LOCK_EX) | LOCK_NB);
    return rc < 0 ? -errno : 0;
}

/*
 * NFS lets a host that was cut off go on writing after its locks are gone and another host has the
 * agent, and nothing here can tell that from outside. Whoever waits for the whole directory, as a
 * standby does, is at least alone with it.
 */
static int check_filesystem(const struct blx_store *store, int fd, struct blx_error *err)
{
    struct statfs filesystem;
    if (!store->shared || fstatfs(fd, &filesystem) != 0 || filesystem.f_type != NFS_SUPER_MAGIC)
        return 0;
    return blx_error_set(err, -EOPNOTSUPP,
                         "'%s' is on NFS, which does not keep a host that was cut off from "
                         "writing: share a directory on CephFS, or leave `shared` out and have "
                         "the other dispatcher be a standby",
                         store->data_dir);
}

/* DIR itself is locked, too: DIR/lock can be removed, and the next one to make it would have it
 * alone. NFS cannot lock a folder (EBADF), and through FUSE it is locked on this host only; there
 * the file has to do. */
static int take_lock(struct blx_store *store, struct blx_error *err)
{
    char path[PATH_MAX];
    int rc = blx_path_format(path, sizeof(path), err, "%s/lock", store->data_dir);
    if (rc < 0)
        return rc;
    BLX_CLEANUP_FD int folder = blx_open(store->data_dir, O_RDONLY | O_DIRECTORY, 0, err);
    if (folder < 0)
        return folder;
    struct blx_error cause = {0};
    rc = lock(store, folder, store->data_dir, &cause);
    if (rc == -EBUSY)
        return blx_error_copy(err, rc, &cause);
    BLX_CLEANUP_FD int fd = blx_open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600, err);
    if (fd < 0)
        return fd;
    rc = check_filesystem(store, fd, err);
    if (rc == 0)
        rc = lock(store, fd, path, err);
    if (rc < 0)
        return rc;
    store->lock_fd = blx_take_fd(&fd);
    store->folder_fd = blx_take_fd(&folder);
    return 0;
}

static const char way_out[] = ": check --data-dir, mount its disk, or make a new store with "
                              "`blxrep dispatcher enroll --init` or `start --init`";

static int check_directory(const struct blx_store *store, struct blx_error *err)
{
    struct stat st;
    if (stat(store->data_dir, &st) != 0 && errno == ENOENT)
        return blx_error_set(err, -ENOENT, "there is no data directory '%s'%s", store->data_dir,
                             way_out);
    if (stat(store->data_dir, &st) != 0)
        return blx_error_errno(err, -errno, "cannot use the data directory '%s'", store->data_dir);
    if (!S_ISDIR(st.st_mode))
        return blx_error_set(err, -ENOTDIR, "the data directory '%s' is no directory",
                             store->data_dir);
    return 0;
}

/* Makes the directory a store unless it is one. */
static int make_store(const struct blx_store *store, struct blx_error *err)
{
    struct stat st;
    int rc = 0;
    if (stat(store->data_dir, &st) != 0 && errno == ENOENT)
        rc = blx_mkdir_parents(store->data_dir, 0700, err);
    if (rc == 0)
        rc = check_directory(store, err);
    if (rc < 0)
        return rc;
    struct blx_error ignored = {0};
    if (check_format(store, &ignored) == -ENOENT)
        rc = make_format(store, err);
    return rc;
}

int blx_store_open(const char *data_dir, enum blx_store_mode mode, struct blx_store *store,
                   struct blx_error *err)
{
    struct blx_store opened = {.lock_fd = -1, .shared = mode == BLX_STORE_SHARE};
    int rc = keep_path(data_dir, &opened, err);
    if (rc == 0)
        rc = mode == BLX_STORE_INIT ? make_store(&opened, err) : check_directory(&opened, err);
    if (rc < 0)
        return rc;
    struct blx_error cause = {0};
    rc = check_format(&opened, &cause);
    if (rc == -ENOENT)
        return blx_error_set(err, rc, "'%s' is no store of blxrep (it has no file 'format')%s",
                             opened.data_dir, way_out);
    if (rc < 0)
        return blx_error_copy(err, rc, &cause);
    /* Whoever made it may have died before its name was durable; without that the rest would be no
     * store. */
    if (mode != BLX_STORE_READ)
        rc = blx_fsync_dir(opened.data_dir, err);
    if (rc == 0 && (mode == BLX_STORE_WRITE || mode == BLX_STORE_SHARE))
        rc = take_lock(&opened, err);
    if (rc < 0)
        return rc;
    *store = opened;
    return 0;
}

void blx_store_close(struct blx_store *store)
{
    if (store->lock_fd >= 0) {
        close(store->lock_fd);
        close(store->folder_fd);
    }
    store->lock_fd = -1;
}

int blx_agent_store_path(struct blx_agent_store agent, char path[PATH_MAX], struct blx_error *err)
{
    int rc = blx_name_check("agent ID", agent.id, err);
    if (rc < 0)
        return rc;
    return blx_path_format(path, PATH_MAX, err, "%s/agents/%s", agent.store->data_dir, agent.id);
}

int blx_agent_store_volume_path(struct blx_agent_store agent, const char *volume,
                                char path[PATH_MAX], struct blx_error *err)
{
    int rc = blx_name_check("agent ID", agent.id, err);
    if (rc == 0 && volume != NULL)
        rc = blx_name_check("volume name", volume, err);
    if (rc < 0)
        return rc;
    return blx_path_format(path, PATH_MAX, err, "%s/agents/%s/volumes%s%s", agent.store->data_dir,
                           agent.id, volume == NULL ? "" : "/", volume == NULL ? "" : volume);
}

int blx_agent_store_enroll(struct blx_agent_store agent, struct blx_error *err)
{
    char path[PATH_MAX];
    int rc = blx_path_format(path, sizeof(path), err, "%s/agents", agent.store->data_dir);
    if (rc == 0)
        rc = blx_directory_make(path, err);
    if (rc == 0)
        rc = blx_agent_store_path(agent, path, err);
    return rc == 0 ? blx_directory_make(path, err) : rc;
}

blx_timestamp blx_agent_store_look_enrolled(struct blx_agent_store agent)
{
    char path[PATH_MAX];
    struct stat st;
    if (blx_agent_store_volume_path(agent, NULL, path, NULL) < 0 || stat(path, &st) == 0 ||
        errno != ENOENT || blx_agent_store_path(agent, path, NULL) < 0 || stat(path, &st) != 0)
        return 0;
    return blx_timestamp_from_unix(st.st_mtim.tv_sec);
}

static bool is_directory(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool blx_agent_store_exists(struct blx_agent_store agent)
{
    char path[PATH_MAX];
    return blx_agent_store_path(agent, path, NULL) == 0 && is_directory(path);
}

bool blx_agent_store_has_volume(struct blx_agent_store agent, const char *volume)
{
    char path[PATH_MAX];
    return blx_agent_store_volume_path(agent, volume, path, NULL) == 0 && is_directory(path);
}

struct agent_list {
    const struct blx_store *store;
    char **ids;
    size_t count;
};

static int add_agent(void *arg, const char *name, struct blx_error *err)
{
    struct agent_list *list = arg;
    if (!blx_agent_store_exists(blx_store_agent(list->store, name)))
        return 0;
    char *id = blx_array_make_room(list->ids, list->count) < 0 ? NULL : strdup(name);
    if (id == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot list the agents of '%s'",
                               list->store->data_dir);
    list->ids[list->count++] = id;
    return 0;
}

static int compare_ids(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int blx_store_list_agents(const struct blx_store *store, char ***agent_ids, size_t *count,
                          struct blx_error *err)
{
    char path[PATH_MAX];
    struct agent_list list = {.store = store};
    int rc = blx_path_format(path, sizeof(path), err, "%s/agents", store->data_dir);
    if (rc == 0)
        rc = blx_directory_each(path, add_agent, &list, err);
    if (rc < 0) {
        blx_store_free_agents(list.ids, list.count);
        return rc;
    }
    if (list.count > 0)
        qsort(list.ids, list.count, sizeof(list.ids[0]), compare_ids);
    *agent_ids = list.ids;
    *count = list.count;
    return 0;
}

void blx_store_free_agents(char **agent_ids, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(agent_ids[i]);
    free(agent_ids);
}

int blx_agent_store_check(struct blx_agent_store agent, struct blx_error *err)
{
    if (blx_agent_store_exists(agent))
        return 0;
    char **ids = NULL;
    size_t count = 0, used = 0;
    char known[BLX_ERROR_MESSAGE_BYTES / 2] = "";
    blx_store_list_agents(agent.store, &ids, &count, NULL);
    for (size_t i = 0; i < count && i < LISTED_AGENTS; i++)
        used += (size_t)snprintf(known + used, sizeof(known) - used, "%s'%.40s'",
                                 i == 0 ? "" : ", ", ids[i]);
    if (count > LISTED_AGENTS)
        snprintf(known + used, sizeof(known) - used, " and %zu more", count - LISTED_AGENTS);
    blx_store_free_agents(ids, count);
    if (count == 0)
        return blx_error_set(err, -ENOENT, "unknown agent '%s': the store '%s' has no agent yet",
                             agent.id, agent.store->data_dir);
    return blx_error_set(err, -ENOENT, "unknown agent '%s' in the store '%s'; it knows %s",
                         agent.id, agent.store->data_dir, known);
}
