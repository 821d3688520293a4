/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/sources.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "config/policy.h"

struct dispatcher_source {
    char *path; /* owned */
    ino_t inode;
    off_t bytes;
    struct timespec changed;
};

/* A file that cannot be looked at is left out, as one that is gone. So is one without memory. */
static void add(struct dispatcher_sources_look *look, char *path)
{
    BLX_CLEANUP_FREE char *owned = path;
    struct stat st;
    if (path == NULL || stat(path, &st) != 0 || blx_array_make_room(look->list, look->count) < 0)
        return;
    look->list[look->count++] = (struct dispatcher_source){.path = blx_take_ptr(owned),
                                                           .inode = st.st_ino,
                                                           .bytes = st.st_size,
                                                           .changed = st.st_mtim};
}

void dispatcher_sources_look(const struct dispatcher_sources *sources,
                             struct dispatcher_sources_look *look)
{
    *look = (struct dispatcher_sources_look){.list = NULL};
    if (sources->config_path != NULL)
        add(look, strdup(sources->config_path));
    BLX_CLEANUP_DIR DIR *dir = opendir(sources->policy_dir);
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char *path = NULL;
        if (blx_policy_is_file(entry->d_name) &&
            asprintf(&path, "%s/%s", sources->policy_dir, entry->d_name) >= 0)
            add(look, path);
    }
}

void dispatcher_sources_look_done(struct dispatcher_sources_look *look)
{
    for (size_t i = 0; i < look->count; i++)
        free(look->list[i].path);
    free(look->list);
    *look = (struct dispatcher_sources_look){.list = NULL};
}

void dispatcher_sources_init(struct dispatcher_sources *sources, const char *config_path,
                             const char *policy_dir)
{
    struct dispatcher_sources_look look;
    *sources = (struct dispatcher_sources){
        .lock = PTHREAD_MUTEX_INITIALIZER, .config_path = config_path, .policy_dir = policy_dir};
    dispatcher_sources_look(sources, &look);
    dispatcher_sources_adopt(sources, &look, "");
}

void dispatcher_sources_done(struct dispatcher_sources *sources)
{
    struct dispatcher_sources_look look = {sources->list, sources->count};
    dispatcher_sources_look_done(&look);
    pthread_mutex_destroy(&sources->lock);
}

void dispatcher_sources_adopt(struct dispatcher_sources *sources,
                              struct dispatcher_sources_look *look, const char *restart)
{
    pthread_mutex_lock(&sources->lock);
    struct dispatcher_sources_look old = {sources->list, sources->count};
    sources->list = look->list;
    sources->count = look->count;
    blx_text_set(sources->restart, restart);
    pthread_mutex_unlock(&sources->lock);
    *look = (struct dispatcher_sources_look){.list = NULL};
    dispatcher_sources_look_done(&old);
}

static const struct dispatcher_source *find(const struct dispatcher_source *list, size_t count,
                                            const char *path)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i].path, path) == 0)
            return &list[i];
    }
    return NULL;
}

static bool is_same(const struct dispatcher_source *a, const struct dispatcher_source *b)
{
    return a->inode == b->inode && a->bytes == b->bytes && a->changed.tv_sec == b->changed.tv_sec &&
           a->changed.tv_nsec == b->changed.tv_nsec;
}

/* The first difference, after the verb; NULL: there is none. */
static const char *compare_locked(const struct dispatcher_sources *sources,
                                  const struct dispatcher_sources_look *now, const char **path)
{
    for (size_t i = 0; i < sources->count; i++) {
        const struct dispatcher_source *then = &sources->list[i];
        const struct dispatcher_source *found = find(now->list, now->count, then->path);
        *path = then->path;
        if (found == NULL)
            return "is gone";
        if (!is_same(then, found))
            return "was changed";
    }
    for (size_t i = 0; i < now->count; i++) {
        *path = now->list[i].path;
        if (find(sources->list, sources->count, *path) == NULL)
            return "is new";
    }
    return NULL;
}

void dispatcher_sources_explain(struct dispatcher_sources *sources, char text[BLX_TEXT_BYTES])
{
    struct dispatcher_sources_look now;
    const char *path = NULL;
    text[0] = '\0';
    dispatcher_sources_look(sources, &now);
    pthread_mutex_lock(&sources->lock);
    const char *difference = compare_locked(sources, &now, &path);
    if (difference != NULL)
        snprintf(text, BLX_TEXT_BYTES,
                 "'%.150s' %s and is not in force: systemctl reload blxrep-dispatcher", path,
                 difference);
    else if (sources->restart[0] != '\0')
        snprintf(text, BLX_TEXT_BYTES,
                 "%.150s in the configuration: systemctl restart blxrep-dispatcher for it",
                 sources->restart);
    pthread_mutex_unlock(&sources->lock);
    dispatcher_sources_look_done(&now);
}
