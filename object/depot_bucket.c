/* SPDX-License-Identifier: Apache-2.0 */
/* A bucket as a depot. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "object/depot_private.h"
#include "object/pace.h"

enum {
    CONNECTIONS = 4,
    RANGE_CONNECTIONS = 32,
    READ_PIECE_BYTES = 8 << 20,
    VERSIONS_A_PAGE = 1000,
    MOST_VERSIONS = 64, /* of a key that are looked at: the oldest, which nobody can push aside */
    MOST_LOCKED = 4,    /* of a key that are locked on */
    ABANDONED_S = 24 * 3600,
    MOST_PARTS = 10000,
};

#define PART_BYTES (UINT64_C(64) << 20)

struct bucket_depot {
    struct object_depot depot;                  /* the first: it is what the callers have */
    struct blx_config_object_store config;      /* its texts are borrowed */
    struct object_bucket *buckets[CONNECTIONS]; /* the first one for single requests */
    struct object_pace pace;
};

static struct object_bucket *first(struct object_depot *depot)
{
    return ((struct bucket_depot *)depot)->buckets[0];
}

static void bucket_close(struct object_depot *depot)
{
    struct bucket_depot *made = (struct bucket_depot *)depot;
    for (size_t i = 0; i < CONNECTIONS; i++)
        object_bucket_close(made->buckets[i]);
    pthread_mutex_destroy(&made->pace.lock);
    free(made);
}

/* Pieces of one object that are sent or fetched by several connections at once. */
struct pieces {
    int (*handle)(struct pieces *pieces, struct object_bucket *bucket, uint64_t number,
                  struct blx_error *err);
    uint64_t count;
    const char *key;
    int fd;
    uint64_t bytes;
    const char *version;               /* that is fetched */
    const char *upload;                /* that is sent */
    char (*etags)[OBJECT_VALUE_BYTES]; /* of its parts */
    pthread_mutex_t lock;              /* guards what follows */
    uint64_t next;
    int rc;
    struct blx_error err; /* of the first piece that failed */
};

struct piece_worker {
    pthread_t thread;
    struct pieces *pieces;
    struct object_bucket *bucket;
};

static void *handle_pieces(void *arg)
{
    const struct piece_worker *worker = arg;
    struct pieces *pieces = worker->pieces;
    for (;;) {
        struct blx_error err = {0};
        pthread_mutex_lock(&pieces->lock);
        uint64_t number = pieces->rc == 0 ? pieces->next++ : pieces->count;
        pthread_mutex_unlock(&pieces->lock);
        if (number >= pieces->count)
            return NULL;
        int rc = pieces->handle(pieces, worker->bucket, number, &err);
        if (rc == 0)
            continue;
        pthread_mutex_lock(&pieces->lock);
        if (pieces->rc == 0) {
            pieces->rc = rc;
            pieces->err = err;
        }
        pthread_mutex_unlock(&pieces->lock);
    }
}

/* This thread works, too, so that no thread at all is no error. */
static int handle_all(struct bucket_depot *depot, struct pieces *pieces, struct blx_error *err)
{
    struct piece_worker workers[CONNECTIONS];
    size_t started = 0;
    pthread_mutex_init(&pieces->lock, NULL);
    for (size_t i = 0; i < CONNECTIONS; i++)
        workers[i] = (struct piece_worker){.pieces = pieces, .bucket = depot->buckets[i]};
    while (started + 1 < CONNECTIONS && started + 1 < pieces->count &&
           pthread_create(&workers[started + 1].thread, NULL, handle_pieces,
                          &workers[started + 1]) == 0)
        started++;
    handle_pieces(&workers[0]);
    for (size_t i = 1; i <= started; i++)
        pthread_join(workers[i].thread, NULL);
    pthread_mutex_destroy(&pieces->lock);
    return pieces->rc < 0 ? blx_error_copy(err, pieces->rc, &pieces->err) : 0;
}

static int send_part(struct pieces *pieces, struct object_bucket *bucket, uint64_t number,
                     struct blx_error *err)
{
    const struct object_file file = {.fd = pieces->fd, .offset = number * PART_BYTES};
    uint64_t left = pieces->bytes - file.offset;
    return object_bucket_put_part(bucket, pieces->key, pieces->upload, (unsigned)number + 1, &file,
                                  left < PART_BYTES ? (size_t)left : (size_t)PART_BYTES,
                                  pieces->etags[number], err);
}

/* Whether the newest version has that size: 1, 0, or -errno. */
static int is_there(struct object_depot *depot, const char *key, uint64_t bytes,
                    struct blx_error *err)
{
    uint64_t found = 0;
    struct blx_error cause = {0};
    int rc = object_bucket_look(first(depot), key, &found, &cause);
    if (rc == -ENOENT)
        return 0;
    return rc < 0 ? blx_error_copy(err, rc, &cause) : found == bytes;
}

static int put_parts(struct object_depot *depot, const char *key, int fd, uint64_t bytes,
                     const struct object_lock *lock, struct blx_error *err)
{
    char upload[OBJECT_UPLOAD_BYTES], version[OBJECT_VALUE_BYTES];
    struct pieces pieces = {.handle = send_part,
                            .count = (bytes + PART_BYTES - 1) / PART_BYTES,
                            .key = key,
                            .fd = fd,
                            .bytes = bytes,
                            .upload = upload};
    if (pieces.count > MOST_PARTS)
        return blx_error_set(err, -EFBIG, "'%s' is too large for an object store", key);
    BLX_CLEANUP_FREE char(*etags)[OBJECT_VALUE_BYTES] = calloc(pieces.count, sizeof(*etags));
    if (etags == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot copy '%s'", key);
    pieces.etags = etags;
    int rc = object_bucket_begin_parts(first(depot), key, lock, upload, err);
    if (rc < 0)
        return rc;
    rc = handle_all((struct bucket_depot *)depot, &pieces, err);
    if (rc == 0)
        rc = object_bucket_end_parts(first(depot), key, upload,
                                     (const char(*)[OBJECT_VALUE_BYTES])etags,
                                     (unsigned)pieces.count, version, err);
    if (rc < 0) {
        object_bucket_abort_parts(first(depot), key, upload, NULL);
        return rc;
    }
    /* Some stores give an object in parts the bucket's own lock. */
    return lock != NULL && lock->mode != BLX_OBJECT_LOCK_NONE
               ? object_bucket_set_lock(first(depot), key, version, lock, OBJECT_RESPECT_LOCK, err)
               : 0;
}

/* A key that is there with another size was written by somebody else: ours becomes its next
 * version, which is found by its hash. */
static int bucket_put_file(struct object_depot *depot, const char *key, int fd, uint64_t bytes,
                           const struct object_lock *lock, struct blx_error *err)
{
    char version[OBJECT_VALUE_BYTES];
    const struct object_file file = {.fd = fd};
    int rc = is_there(depot, key, bytes, err);
    if (rc != 0)
        return rc;
    if (bytes > PART_BYTES)
        return put_parts(depot, key, fd, bytes, lock, err);
    return object_bucket_put_file(first(depot), key, &file, (size_t)bytes, lock,
                                  OBJECT_WRITE_ANYWAY, version, err);
}

static int bucket_put(struct object_depot *depot, const char *key, const void *content,
                      size_t bytes, const struct object_lock *lock, struct blx_error *err)
{
    char version[OBJECT_VALUE_BYTES];
    int rc = is_there(depot, key, bytes, err);
    return rc != 0 ? rc
                   : object_bucket_put(first(depot), key, content, bytes, lock, OBJECT_WRITE_ANYWAY,
                                       version, err);
}

/* The versions of one key, the newest first, as stores list them. */
struct versions {
    const char *key;
    struct object_version *all; /* owned */
    size_t count;
    bool with_markers;
};

static int take_version(void *arg, const struct object_version *version)
{
    struct versions *versions = arg;
    if (strcmp(version->key, versions->key) != 0 || (version->is_marker && !versions->with_markers))
        return 0;
    if (versions->count == MOST_VERSIONS)
        memmove(versions->all, versions->all + 1, --versions->count * sizeof(versions->all[0]));
    if (blx_array_make_room(versions->all, versions->count) < 0)
        return -ENOMEM;
    versions->all[versions->count++] = *version;
    return 0;
}

static int list_versions(struct object_depot *depot, struct versions *versions,
                         struct blx_error *err)
{
    return object_bucket_list(first(depot), versions->key, VERSIONS_A_PAGE, take_version, versions,
                              err);
}

static int bucket_set_lock(struct object_depot *depot, const char *key,
                           const struct object_lock *lock, struct blx_error *err)
{
    struct versions versions = {.key = key};
    int rc = list_versions(depot, &versions, err);
    if (rc == 0 && versions.count == 0)
        rc = blx_error_set(err, -ENOENT, "cannot lock '%s': the object store has it no more", key);
    /* Ours is among the oldest; whatever somebody has written over it later is not our cost. */
    for (size_t i = 0; rc == 0 && i < versions.count && i < MOST_LOCKED; i++)
        rc = object_bucket_set_lock(first(depot), key, versions.all[versions.count - 1 - i].id,
                                    lock, OBJECT_RESPECT_LOCK, err);
    free(versions.all);
    return rc;
}

static int fetch_piece(struct pieces *pieces, struct object_bucket *bucket, uint64_t number,
                       struct blx_error *err)
{
    uint64_t offset = number * READ_PIECE_BYTES, left = pieces->bytes - offset;
    size_t bytes = left < READ_PIECE_BYTES ? (size_t)left : (size_t)READ_PIECE_BYTES;
    BLX_CLEANUP_FREE char *buffer = malloc(bytes);
    if (buffer == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot read '%s'", pieces->key);
    int rc = object_bucket_get(bucket, pieces->key, pieces->version, offset, buffer, bytes, err);
    if (rc < 0)
        return rc;
    rc = blx_pwrite_full(pieces->fd, buffer, bytes, offset);
    return rc < 0 ? blx_error_errno(err, rc, "cannot write '%s'", pieces->key) : 0;
}

/* 1: this version has another content. */
static int fetch_version(struct object_depot *depot, const char *key, const char *version,
                         const uint8_t *hash, uint64_t bytes, int fd, struct blx_error *err)
{
    uint8_t found[OBJECT_HASH_BYTES];
    struct pieces pieces = {.handle = fetch_piece,
                            .count = (bytes + READ_PIECE_BYTES - 1) / READ_PIECE_BYTES,
                            .key = key,
                            .fd = fd,
                            .bytes = bytes,
                            .version = version};
    int rc = handle_all((struct bucket_depot *)depot, &pieces, err);
    if (rc == 0)
        rc = object_hash_file(fd, bytes, found, err);
    return rc == 0 ? memcmp(found, hash, sizeof(found)) != 0 : rc;
}

static int find_version(struct object_depot *depot, const char *key, const uint8_t *hash,
                        uint64_t bytes, int fd, struct blx_error *err)
{
    struct versions versions = {.key = key};
    int rc = list_versions(depot, &versions, err);
    if (rc == 0 && versions.count == 0)
        rc = blx_error_set(err, -ENOENT, "'%s' is not in the object store", key);
    else if (rc == 0)
        rc = 1;
    for (size_t i = versions.count; rc == 1 && i > 0; i--) {
        struct blx_error cause = {0};
        if (versions.all[i - 1].bytes != bytes)
            continue;
        int found = fetch_version(depot, key, versions.all[i - 1].id, hash, bytes, fd, &cause);
        if (found < 0 && found != -ENOENT && found != -EBADMSG)
            rc = blx_error_copy(err, found, &cause);
        else if (found == 0)
            rc = 0;
    }
    if (rc == 1)
        rc = blx_error_set(err, -EBADMSG,
                           "'%s' has %zu versions in the object store, and none of them has the "
                           "content that its name says",
                           key, versions.count);
    free(versions.all);
    return rc;
}

static int bucket_fetch(struct object_depot *depot, const char *key, const uint8_t *hash,
                        uint64_t bytes, int fd, struct blx_error *err)
{
    struct blx_error cause = {0};
    int rc = fetch_version(depot, key, "", hash, bytes, fd, &cause);
    /* 416 comes if the newest version is shorter, and some stores say 400. */
    if (rc == 0 || (rc < 0 && rc != -ENOENT && rc != -EBADMSG && rc != -EIO))
        return rc < 0 ? blx_error_copy(err, rc, &cause) : 0;
    return find_version(depot, key, hash, bytes, fd, err);
}

/* A share of the ranges, over a connection of its own. */
struct range_worker {
    pthread_t thread;
    struct object_bucket *bucket;
    struct object_range *ranges;
    size_t first, count, step;
};

static void *read_some(void *arg)
{
    const struct range_worker *worker = arg;
    for (size_t i = worker->first; i < worker->count; i += worker->step) {
        struct object_range *range = &worker->ranges[i];
        range->is_read = object_bucket_get(worker->bucket, range->key, "", range->offset,
                                           range->content, range->bytes, NULL) == 0;
    }
    return NULL;
}

/* Small ranges wait for the line, and not for its width: so there are many at once. */
static int bucket_read_ranges(struct object_depot *depot, struct object_range *ranges, size_t count,
                              struct blx_error *err)
{
    struct bucket_depot *made = (struct bucket_depot *)depot;
    struct range_worker workers[RANGE_CONNECTIONS] = {0};
    size_t wanted = count < RANGE_CONNECTIONS ? count : RANGE_CONNECTIONS, opened = 0, started = 0;
    int rc = 0;
    while (rc == 0 && opened < wanted) {
        rc = object_bucket_open(&made->config, &workers[opened].bucket, err);
        if (rc == 0)
            object_bucket_set_pace(workers[opened++].bucket, &made->pace);
    }
    for (size_t i = 0; rc == 0 && i < opened; i++) {
        workers[i].ranges = ranges;
        workers[i].first = i;
        workers[i].count = count;
        workers[i].step = opened;
        if (i > 0 && pthread_create(&workers[i].thread, NULL, read_some, &workers[i]) != 0)
            break; /* its share stays unread */
        started = i + 1;
    }
    if (started > 0)
        read_some(&workers[0]);
    for (size_t i = 1; i < started; i++)
        pthread_join(workers[i].thread, NULL);
    for (size_t i = 0; i < opened; i++)
        object_bucket_close(workers[i].bucket);
    return rc;
}

/* The newest size of the key; if it was deleted, the oldest version's. */
static int look(struct object_depot *depot, const char *key, uint64_t *bytes, struct blx_error *err)
{
    struct blx_error cause = {0};
    struct versions versions = {.key = key};
    int rc = object_bucket_look(first(depot), key, bytes, &cause);
    if (rc != -ENOENT)
        return rc < 0 ? blx_error_copy(err, rc, &cause) : 0;
    rc = list_versions(depot, &versions, err);
    if (rc == 0 && versions.count == 0)
        rc = blx_error_set(err, -ENOENT, "'%s' is not in the object store", key);
    else if (rc == 0)
        *bytes = versions.all[versions.count - 1].bytes;
    free(versions.all);
    return rc;
}

/* The sizes of all its versions are tried, since a small object's size is not in its name. */
static int read_sizes(struct object_depot *depot, const char *key, const uint8_t *hash,
                      uint64_t first_bytes, int fd, size_t limit, uint64_t *bytes,
                      struct blx_error *err)
{
    struct versions versions = {.key = key};
    *bytes = first_bytes;
    struct blx_error cause = {0};
    int rc = first_bytes <= limit && first_bytes > 0
                 ? bucket_fetch(depot, key, hash, first_bytes, fd, &cause)
                 : -EBADMSG;
    if (rc != -EBADMSG)
        return rc < 0 ? blx_error_copy(err, rc, &cause) : 0;
    rc = list_versions(depot, &versions, err);
    if (rc == 0)
        rc = -EBADMSG;
    for (size_t i = versions.count; rc == -EBADMSG && i > 0; i--) {
        *bytes = versions.all[i - 1].bytes;
        if (*bytes == first_bytes || *bytes == 0 || *bytes > limit)
            continue;
        blx_error_clear(err);
        rc = ftruncate(fd, 0) == 0 ? find_version(depot, key, hash, *bytes, fd, err) : -errno;
    }
    free(versions.all);
    return rc != -EBADMSG ? rc
                          : blx_error_set(err, rc,
                                          "no version of '%s' in the object store has the content "
                                          "that its name says",
                                          key);
}

static int bucket_read(struct object_depot *depot, const char *key, const uint8_t *hash,
                       size_t limit, void **content, size_t *bytes, struct blx_error *err)
{
    FILE *file = tmpfile();
    uint64_t found = 0;
    if (file == NULL)
        return blx_error_errno(err, -errno, "cannot read '%s'", key);
    int rc = look(depot, key, &found, err);
    if (rc == 0)
        rc = read_sizes(depot, key, hash, found, fileno(file), limit, &found, err);
    char *made = rc == 0 ? malloc((size_t)found + 1) : NULL;
    if (rc == 0 && made == NULL)
        rc = blx_error_errno(err, -ENOMEM, "cannot read '%s'", key);
    if (rc == 0 && blx_pread_full(fileno(file), made, (size_t)found, 0) < 0)
        rc = blx_error_errno(err, -EIO, "cannot read '%s'", key);
    fclose(file);
    if (rc < 0) {
        free(made);
        return rc;
    }
    made[found] = '\0';
    *content = made;
    *bytes = (size_t)found;
    return 0;
}

/* A list of names, each once, though a key may have several versions. */
struct names {
    const char *folder;
    char last[OBJECT_KEY_BYTES]; /* which is told when the list has gone past it */
    time_t written;              /* its oldest version; the newest comes first */
    object_depot_visit_key *visit;
    void *arg;
};

static int tell_last(const struct names *names)
{
    return names->last[0] == '\0'
               ? 0
               : names->visit(names->arg, names->last + strlen(names->folder), names->written);
}

static int take_name(void *arg, const struct object_version *version)
{
    struct names *names = arg;
    size_t length = strlen(names->folder);
    if (version->is_marker || strncmp(version->key, names->folder, length) != 0 ||
        strchr(version->key + length, '/') != NULL)
        return 0;
    int rc = strcmp(version->key, names->last) != 0 ? tell_last(names) : 0;
    blx_text_set(names->last, version->key);
    names->written = version->written;
    return rc;
}

static int bucket_list(struct object_depot *depot, const char *folder,
                       object_depot_visit_key *visit, void *arg, struct blx_error *err)
{
    struct names names = {.folder = folder, .visit = visit, .arg = arg};
    int rc = object_bucket_list(first(depot), folder, VERSIONS_A_PAGE, take_name, &names, err);
    return rc == 0 ? tell_last(&names) : rc;
}

static int bucket_list_folders(struct object_depot *depot, const char *folder,
                               object_depot_visit *visit, void *arg, struct blx_error *err)
{
    return object_bucket_list_folders(first(depot), folder, visit, arg, err);
}

/* Whether a version of the key is locked now: 1, 0, -errno. */
static int has_lock(struct object_depot *depot, const struct versions *versions,
                    struct blx_error *err)
{
    for (size_t i = 0; i < versions->count; i++) {
        struct object_lock lock = {0};
        if (versions->all[i].is_marker)
            continue;
        int rc =
            object_bucket_get_lock(first(depot), versions->key, versions->all[i].id, &lock, err);
        if (rc < 0 && rc != -ENOENT)
            return rc;
        if (rc == 0 && lock.mode != BLX_OBJECT_LOCK_NONE && lock.until > time(NULL))
            return 1;
    }
    return 0;
}

static int bucket_remove(struct object_depot *depot, const char *key, struct blx_error *err)
{
    struct versions versions = {.key = key, .with_markers = true};
    int rc = list_versions(depot, &versions, err);
    if (rc == 0)
        rc = has_lock(depot, &versions, err);
    if (rc == 1)
        rc = blx_error_set(err, -EACCES, "'%s' is locked", key);
    for (size_t i = 0; rc == 0 && i < versions.count; i++)
        rc = object_bucket_delete(first(depot), key, versions.all[i].id, OBJECT_RESPECT_LOCK, err);
    free(versions.all);
    return rc;
}

struct cleaning {
    struct object_bucket *bucket;
    struct blx_error *err;
};

static int give_up(void *arg, const char *key, const char *upload, time_t begun)
{
    const struct cleaning *cleaning = arg;
    if (begun == 0 || begun > time(NULL) - ABANDONED_S)
        return 0;
    int rc = object_bucket_abort_parts(cleaning->bucket, key, upload, cleaning->err);
    return rc == -ENOENT ? 0 : rc;
}

static int bucket_clean(struct object_depot *depot, const char *folder, struct blx_error *err)
{
    struct cleaning cleaning = {.bucket = ((struct bucket_depot *)depot)->buckets[1],
                                .err = err}; /* the first one lists */
    return object_bucket_list_uploads(first(depot), folder, give_up, &cleaning, err);
}

static const struct object_depot_ops bucket_ops = {
    .close = bucket_close,
    .put_file = bucket_put_file,
    .put = bucket_put,
    .set_lock = bucket_set_lock,
    .fetch = bucket_fetch,
    .read = bucket_read,
    .read_ranges = bucket_read_ranges,
    .list = bucket_list,
    .list_folders = bucket_list_folders,
    .remove = bucket_remove,
    .clean = bucket_clean,
};

struct object_bucket *object_depot_first_bucket(const struct object_depot *depot)
{
    return depot->ops == &bucket_ops ? ((const struct bucket_depot *)depot)->buckets[0] : NULL;
}

int object_depot_open_bucket(const struct blx_config_object_store *config,
                             const struct blx_bandwidth *limit, struct object_depot **depot,
                             struct blx_error *err)
{
    struct bucket_depot *made = calloc(1, sizeof(*made));
    int rc = 0;
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot open the object store");
    made->depot.ops = &bucket_ops;
    made->config = *config;
    object_pace_init(&made->pace, limit);
    for (size_t i = 0; rc == 0 && i < CONNECTIONS; i++) {
        rc = object_bucket_open(config, &made->buckets[i], err);
        if (rc == 0)
            object_bucket_set_pace(made->buckets[i], &made->pace);
    }
    if (rc == 0) {
        made->depot.name = strdup(object_bucket_name(made->buckets[0]));
        if (made->depot.name == NULL)
            rc = blx_error_errno(err, -ENOMEM, "cannot open the object store");
    }
    if (rc < 0) {
        bucket_close(&made->depot);
        return rc;
    }
    *depot = &made->depot;
    return 0;
}
