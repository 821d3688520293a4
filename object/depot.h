/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where copies lie: an object store's bucket, or a folder. Both have keys that are written once,
 * with their content's hash in their names (store/copy/copied.h), so a reader need not trust either
 * of them: whatever has that hash is the object.
 *
 * In a bucket that may be a version that somebody has written over or deleted: then all versions of
 * the key are tried, the oldest first.
 *
 * Threads: a depot belongs to one. A bucket has threads of its own, so that several parts of an
 * object are on the way at once. Each function waits for the network or the disk, and returns 0 or
 * -errno. Memory: some 8 MiB for each part that is on the way.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/error.h"
#include "config/config.h"
#include "object/bucket.h"
#include "object/sign.h"

struct object_depot;

/* `where` is a bucket's URL, which needs the configuration's group, or a folder's path. */
int object_depot_open(const char *where, const struct blx_config *config,
                      struct object_depot **depot, struct blx_error *err);
void object_depot_close(struct object_depot *depot);

/* Whether that text is a URL. */
bool object_depot_is_url(const char *where);

/* For messages, and to tell copies apart. */
const char *object_depot_name(const struct object_depot *depot);

/* NULL: it is a folder. */
struct object_bucket *object_depot_bucket(const struct object_depot *depot);

/* Writes a key unless it is there with that size. 1 if it was there. Then its lock is what it was.
 * `lock` NULL: none. */
int object_depot_put_file(struct object_depot *depot, const char *key, int fd, uint64_t bytes,
                          const struct object_lock *lock, struct blx_error *err);
int object_depot_put(struct object_depot *depot, const char *key, const void *content, size_t bytes,
                     const struct object_lock *lock, struct blx_error *err);

/* Has the key locked until then at least. A folder has no locks: -ENOTSUP. */
int object_depot_set_lock(struct object_depot *depot, const char *key,
                          const struct object_lock *lock, struct blx_error *err);

/* Fills the empty file with the object of that hash. -EBADMSG: the key has no content with it;
 * -ENOENT: there is no such key. */
int object_depot_fetch(struct object_depot *depot, const char *key,
                       const uint8_t hash[OBJECT_HASH_BYTES], uint64_t bytes, int fd,
                       struct blx_error *err);

/*
 * Ranges of many objects, as many at once as the depot bears: the bytes of each come into
 * `content`, unless `is_read` stays false. What they are is to be checked by the caller: somebody
 * may have written over the key. 0 also if some could not be read.
 */
struct object_range {
    char key[OBJECT_KEY_BYTES];
    uint64_t offset;
    size_t bytes;
    void *content; /* the caller's */
    bool is_read;
};
int object_depot_read_ranges(struct object_depot *depot, struct object_range *ranges, size_t count,
                             struct blx_error *err);

/* The same for one of at most `limit` bytes, into a new buffer that the caller frees. */
int object_depot_read(struct object_depot *depot, const char *key,
                      const uint8_t hash[OBJECT_HASH_BYTES], size_t limit, void **content,
                      size_t *bytes, struct blx_error *err);

/* Calls visit() with the names of the keys, or of the folders, directly below `folder`
 * ("agents/ID/checkpoints/"), each once, in any order. Less than 0 ends it. `written` is when the
 * key's oldest version came, by the store's clock; 0: that is not known. */
typedef int object_depot_visit_key(void *arg, const char *name, time_t written);
typedef int object_depot_visit(void *arg, const char *name);
int object_depot_list(struct object_depot *depot, const char *folder, object_depot_visit_key *visit,
                      void *arg, struct blx_error *err);
int object_depot_list_folders(struct object_depot *depot, const char *folder,
                              object_depot_visit *visit, void *arg, struct blx_error *err);

/* Removes the key with all its versions. -EACCES: one of them is locked; then nothing was tried. */
int object_depot_remove(struct object_depot *depot, const char *key, struct blx_error *err);

/* SHA-256 of `bytes` bytes of the file from `offset` on. */
int object_hash_part(int fd, uint64_t offset, uint64_t bytes, uint8_t hash[OBJECT_HASH_BYTES],
                     struct blx_error *err);

/* SHA-256 of the file's first `bytes` bytes. */
int object_hash_file(int fd, uint64_t bytes, uint8_t hash[OBJECT_HASH_BYTES],
                     struct blx_error *err);

/* Gives up uploads below `folder` that began more than a day ago. */
int object_depot_clean(struct object_depot *depot, const char *folder, struct blx_error *err);
