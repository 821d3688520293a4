/* SPDX-License-Identifier: Apache-2.0 */
#include "object/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "object/cache_private.h"
#include "store/segment/segment_part.h"

enum {
    SMALL_BYTES = 256 << 10, /* such an object comes whole: its tail would not be cheaper */
    BATCH_BYTES = 64 << 20,  /* of tails in memory at once */
};

static const char shifted_name[] = "adopt.tmp"; /* store/copy/adoption.c gives it another number */

static int name_object(const char *folder, const struct blx_copied_object *object,
                       char path[PATH_MAX], struct blx_error *err)
{
    char hash[BLX_COPIED_HASH_TEXT];
    blx_copied_hash_text(object->hash, hash);
    return blx_path_format(path, PATH_MAX, err, "%s/%s", folder, hash);
}

static int objects_dir(const struct object_cache *cache, char path[PATH_MAX], struct blx_error *err)
{
    return blx_path_format(path, PATH_MAX, err, "%s/objects", cache->dir);
}

static int parts_dir(const struct object_cache *cache, char path[PATH_MAX], struct blx_error *err)
{
    return blx_path_format(path, PATH_MAX, err, "%s/parts", cache->run_dir);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    remove(path); /* or the next command does */
    return 0;
}

static void remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* What a command that was killed has left: nobody has its lock. */
static void sweep(const struct object_cache *cache)
{
    char path[PATH_MAX];
    BLX_CLEANUP_DIR DIR *dir = opendir(cache->dir);
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (strncmp(entry->d_name, "run-", 4) != 0 ||
            blx_path_format(path, sizeof(path), NULL, "%s/%s/alive", cache->dir, entry->d_name) < 0)
            continue;
        BLX_CLEANUP_FD int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0)
            continue;
        *strrchr(path, '/') = '\0';
        remove_tree(path);
    }
}

static int make_run(struct object_cache *cache, struct blx_error *err)
{
    char path[PATH_MAX];
    int rc = blx_path_format(path, sizeof(path), err, "%s/run-XXXXXX", cache->dir);
    if (rc < 0)
        return rc;
    if (mkdtemp(path) == NULL)
        return blx_error_errno(err, -errno, "cannot use the cache '%s'", cache->dir);
    memcpy(cache->run_dir, path, sizeof(path));
    /* The store first, which wants an empty folder. */
    rc = blx_store_open(cache->run_dir, BLX_STORE_INIT, &cache->store, err);
    if (rc == 0)
        rc = blx_path_format(path, sizeof(path), err, "%s/alive", cache->run_dir);
    if (rc < 0)
        return rc;
    cache->alive_fd = blx_open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600, err);
    if (cache->alive_fd < 0)
        return cache->alive_fd;
    if (flock(cache->alive_fd, LOCK_EX | LOCK_NB) != 0)
        return blx_error_errno(err, -errno, "cannot lock '%s'", path);
    rc = parts_dir(cache, path, err);
    return rc == 0 ? blx_mkdir_parents(path, 0700, err) : rc;
}

/* Wholes are not hashed again when they are used, so nobody else may write them. */
static int check_own(const char *dir, struct blx_error *err)
{
    struct stat st;
    if (stat(dir, &st) != 0)
        return blx_error_errno(err, -errno, "cannot use the cache '%s'", dir);
    return st.st_uid == geteuid() && (st.st_mode & (S_IWGRP | S_IWOTH)) == 0
               ? 0
               : blx_error_set(err, -EACCES,
                               "others can write to the cache '%s': give another --cache-dir", dir);
}

int object_cache_open(struct object_cache *cache, const char *dir, struct object_depot *depot,
                      enum object_cache_want want, uint64_t limit_bytes, struct blx_error *err)
{
    char path[PATH_MAX];
    *cache = (struct object_cache){.alive_fd = -1,
                                   .want = want,
                                   .limit_bytes = limit_bytes,
                                   .depot = depot,
                                   .store = {.lock_fd = -1, .folder_fd = -1}};
    pthread_mutex_init(&cache->depot_lock, NULL);
    pthread_mutex_init(&cache->lock, NULL);
    pthread_cond_init(&cache->changed, NULL);
    int rc = blx_path_format(cache->dir, sizeof(cache->dir), err, "%s", dir);
    if (rc == 0)
        rc = objects_dir(cache, path, err);
    if (rc == 0)
        rc = blx_mkdir_parents(path, 0700, err);
    if (rc == 0)
        rc = check_own(path, err);
    if (rc < 0)
        return rc;
    sweep(cache);
    return make_run(cache, err);
}

/* The object as a whole in CACHE/objects. */
static int get_object(struct object_cache *cache, const char *key,
                      const struct blx_copied_object *object, char path[PATH_MAX],
                      struct blx_error *err)
{
    char dir[PATH_MAX], temporary[PATH_MAX];
    struct stat st;
    int rc = objects_dir(cache, dir, err);
    if (rc == 0)
        rc = name_object(dir, object, path, err);
    if (rc == 0)
        rc = blx_path_format(temporary, sizeof(temporary), err, "%s/whole", cache->run_dir);
    if (rc < 0)
        return rc;
    if (stat(path, &st) == 0 && (uint64_t)st.st_size == object->bytes) {
        utimensat(AT_FDCWD, path, NULL, 0); /* for whoever makes room */
        return 0;
    }
    BLX_CLEANUP_FD int fd = blx_open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600, err);
    if (fd < 0)
        return fd;
    rc = object_depot_fetch(cache->depot, key, object->hash, object->bytes, fd, err);
    if (rc == 0 && rename(temporary, path) != 0)
        rc = blx_error_errno(err, -errno, "cannot rename '%s' to '%s'", temporary, path);
    if (rc < 0)
        unlink(temporary);
    return rc;
}

int object_cache_place(struct object_cache *cache, const char *key,
                       const struct blx_copied_object *object, const char *path,
                       struct blx_error *err)
{
    char whole[PATH_MAX], temporary[PATH_MAX];
    int rc = get_object(cache, key, object, whole, err);
    if (rc == 0)
        rc = blx_path_format(temporary, sizeof(temporary), err, "%s/link", cache->run_dir);
    if (rc < 0)
        return rc;
    unlink(temporary);
    if (link(whole, temporary) != 0 || rename(temporary, path) != 0)
        return blx_error_errno(err, -errno, "cannot link '%s' to '%s'", whole, path);
    return 0;
}

static int compare_pieces(const void *a, const void *b)
{
    const struct object_cache_piece *x = a, *y = b;
    return strcmp(x->key, y->key);
}

static int note(void *arg, const struct blx_copied *copied, struct blx_error *err)
{
    struct object_cache *cache = arg;
    for (uint32_t i = 0; i < blx_manifest_count_entries(&copied->manifest); i++) {
        const struct blx_manifest_volume *entry = &copied->manifest.volumes[i];
        const struct blx_copied_object *objects = blx_copied_of(copied, entry);
        for (uint32_t s = 0; s < entry->segment_count; s++) {
            if (blx_array_make_room(cache->pieces, cache->count) < 0)
                return blx_error_errno(err, -ENOMEM, "cannot list what is to be fetched");
            struct object_cache_piece *piece = &cache->pieces[cache->count++];
            *piece = (struct object_cache_piece){.object = objects[s]};
            blx_copied_segment_key(piece->key, cache->agent_id, entry->name, entry->segments[s],
                                   &objects[s]);
        }
    }
    return 0;
}

/* Each once. */
static void sort_pieces(struct object_cache *cache)
{
    size_t kept = 0;
    if (cache->count > 0)
        qsort(cache->pieces, cache->count, sizeof(cache->pieces[0]), compare_pieces);
    for (size_t i = 0; i < cache->count; i++) {
        if (kept == 0 || compare_pieces(&cache->pieces[kept - 1], &cache->pieces[i]) != 0)
            cache->pieces[kept++] = cache->pieces[i];
    }
    cache->count = kept;
}

static bool is_cached(const struct object_cache *cache, const struct object_cache_piece *piece)
{
    char dir[PATH_MAX], path[PATH_MAX];
    struct stat st;
    return objects_dir(cache, dir, NULL) == 0 &&
           name_object(dir, &piece->object, path, NULL) == 0 && stat(path, &st) == 0 &&
           (uint64_t)st.st_size == piece->object.bytes;
}

/* A tail that came becomes a part, if it is what the checkpoint says. */
static void keep_tail(const struct object_cache *cache, const struct object_cache_piece *piece,
                      const struct object_range *range)
{
    struct object_digest digest;
    uint8_t hash[OBJECT_HASH_BYTES];
    char dir[PATH_MAX], path[PATH_MAX];
    if (!range->is_read || object_digest_begin(&digest, OBJECT_DIGEST_PLAIN, NULL) < 0)
        return;
    object_digest_add(&digest, range->content, range->bytes);
    object_digest_end(&digest, hash, NULL);
    if (memcmp(hash, piece->object.tail_hash, sizeof(hash)) != 0 ||
        parts_dir(cache, dir, NULL) < 0 || name_object(dir, &piece->object, path, NULL) < 0)
        return; /* it comes as a whole, of whatever version has the hash */
    BLX_CLEANUP_FD int fd = blx_open(path, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600, NULL);
    if (fd >= 0 &&
        blx_segment_write_part(fd, range->content, range->bytes, piece->object.bytes, NULL) < 0)
        unlink(path);
}

/* The tails of some pieces. */
static int fetch_batch(struct object_cache *cache, struct object_cache_piece *const *pieces,
                       size_t count, uint64_t bytes, struct blx_error *err)
{
    BLX_CLEANUP_FREE struct object_range *ranges = calloc(count + 1, sizeof(ranges[0]));
    BLX_CLEANUP_FREE uint8_t *content = malloc((size_t)bytes + 1);
    if (ranges == NULL || content == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot fetch the indexes of the copies");
    uint8_t *at = content;
    for (size_t i = 0; i < count; i++) {
        const struct blx_copied_object *object = &pieces[i]->object;
        ranges[i].offset = object->bytes - object->tail_bytes;
        ranges[i].bytes = (size_t)object->tail_bytes;
        ranges[i].content = at;
        snprintf(ranges[i].key, sizeof(ranges[i].key), "%s", pieces[i]->key);
        at += object->tail_bytes;
    }
    int rc = object_depot_read_ranges(cache->depot, ranges, count, err);
    for (size_t i = 0; rc == 0 && i < count; i++)
        keep_tail(cache, pieces[i], &ranges[i]);
    return rc;
}

static bool wants_tail(const struct object_cache *cache, const struct object_cache_piece *piece)
{
    const struct blx_copied_object *object = &piece->object;
    return !piece->is_done && object->tail_bytes > 0 && object->tail_bytes <= BATCH_BYTES &&
           object->bytes > SMALL_BYTES && !is_cached(cache, piece);
}

static int fetch_tails(struct object_cache *cache, struct blx_error *err)
{
    BLX_CLEANUP_FREE struct object_cache_piece **batch = calloc(cache->count + 1, sizeof(batch[0]));
    uint64_t bytes = 0;
    size_t count = 0;
    int rc = 0;
    if (batch == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot fetch the indexes of the copies");
    for (size_t i = 0; rc == 0 && i < cache->count; i++) {
        struct object_cache_piece *piece = &cache->pieces[i];
        bool wanted = wants_tail(cache, piece);
        piece->is_done = true;
        if (!wanted)
            continue;
        if (bytes + piece->object.tail_bytes > BATCH_BYTES) {
            rc = fetch_batch(cache, batch, count, bytes, err);
            bytes = count = 0;
        }
        bytes += piece->object.tail_bytes;
        batch[count++] = piece;
    }
    return rc == 0 && count > 0 ? fetch_batch(cache, batch, count, bytes, err) : rc;
}

static int ready(void *arg, struct blx_error *err)
{
    struct object_cache *cache = arg;
    sort_pieces(cache);
    return cache->want == OBJECT_CACHE_WHOLES ? 0 : fetch_tails(cache, err);
}

/* The path below the data directory that the file will have. */
static void remember_path(struct object_cache *cache, const char *key, const char *path)
{
    struct object_cache_piece wanted = {0};
    const char *below = strstr(path, "/adopting/");
    snprintf(wanted.key, sizeof(wanted.key), "%s", key);
    struct object_cache_piece *piece =
        bsearch(&wanted, cache->pieces, cache->count, sizeof(cache->pieces[0]), compare_pieces);
    if (piece != NULL && below != NULL)
        snprintf(piece->path, sizeof(piece->path), "%s", below + strlen("/adopting/"));
}

/* The part, if there is one, and if it needs no other number. Otherwise the whole. */
static int fetch(void *arg, const char *volume, uint32_t number,
                 const struct blx_copied_object *object, const char *path, struct blx_error *err)
{
    struct object_cache *cache = arg;
    char key[BLX_COPIED_KEY_BYTES], dir[PATH_MAX], part[PATH_MAX];
    blx_copied_segment_key(key, cache->agent_id, volume, number, object);
    const char *name = strrchr(path, '/');
    if (name != NULL && strcmp(name + 1, shifted_name) == 0) {
        int rc = object_adopt_file(cache->depot, key, object, path, err);
        return rc < 0 ? rc : 0;
    }
    int rc = parts_dir(cache, dir, err);
    if (rc == 0)
        rc = name_object(dir, object, part, err);
    if (rc < 0)
        return rc;
    if (rename(part, path) != 0)
        return object_cache_place(cache, key, object, path, err);
    remember_path(cache, key, path);
    return 0;
}

int object_cache_add(struct object_cache *cache, const char *agent_id, const char *checkpoint,
                     struct blx_error *err)
{
    struct object_adopt_report report = {0};
    bool lists = cache->want == OBJECT_CACHE_LISTS;
    const struct object_adopt_ways ways = {.how = BLX_ADOPTION_PASSING,
                                           .note = lists ? NULL : note,
                                           .ready = lists ? NULL : ready,
                                           .fetch = lists ? NULL : fetch,
                                           .arg = cache};
    snprintf(cache->agent_id, sizeof(cache->agent_id), "%s", agent_id);
    return object_adopt_with(&cache->store, cache->depot, agent_id, checkpoint, &ways, &report,
                             err);
}

/* A whole that may go, and when it was used last. */
struct used {
    char name[BLX_COPIED_HASH_TEXT];
    struct timespec when;
    uint64_t bytes;
};

static int compare_used(const void *a, const void *b)
{
    const struct used *x = a, *y = b;
    if (x->when.tv_sec != y->when.tv_sec)
        return x->when.tv_sec < y->when.tv_sec ? -1 : 1;
    return (x->when.tv_nsec > y->when.tv_nsec) - (x->when.tv_nsec < y->when.tv_nsec);
}

static void trim(const struct object_cache *cache)
{
    char dir[PATH_MAX];
    BLX_CLEANUP_FREE struct used *all = NULL;
    size_t count = 0;
    uint64_t bytes = 0;
    if (objects_dir(cache, dir, NULL) < 0)
        return;
    BLX_CLEANUP_DIR DIR *open = opendir(dir);
    const struct dirent *entry;
    while (open != NULL && (entry = readdir(open)) != NULL) {
        struct stat st;
        if (strlen(entry->d_name) != BLX_COPIED_HASH_TEXT - 1 ||
            fstatat(dirfd(open), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
            blx_array_make_room(all, count) < 0)
            continue;
        struct used *used = &all[count++];
        *used = (struct used){.when = st.st_mtim, .bytes = (uint64_t)st.st_size};
        memcpy(used->name, entry->d_name, sizeof(used->name));
        bytes += used->bytes;
    }
    if (count > 0)
        qsort(all, count, sizeof(all[0]), compare_used);
    for (size_t i = 0; i < count && bytes > cache->limit_bytes; i++) {
        unlinkat(dirfd(open), all[i].name, 0);
        bytes -= all[i].bytes;
    }
}

void object_cache_close(struct object_cache *cache)
{
    blx_store_close(&cache->store);
    if (cache->run_dir[0] != '\0')
        remove_tree(cache->run_dir);
    if (cache->dir[0] != '\0')
        trim(cache);
    if (cache->alive_fd >= 0)
        close(cache->alive_fd);
    free(cache->pieces);
    pthread_cond_destroy(&cache->changed);
    pthread_mutex_destroy(&cache->lock);
    pthread_mutex_destroy(&cache->depot_lock);
}
