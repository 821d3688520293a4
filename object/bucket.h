/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What we ask of an object store: versions of keys, their content, and their locks.
 *
 * A key is written once. If the store cannot promise that, or somebody writes over it, the oldest
 * version of the key is ours: readers ask for a version, never for the newest one.
 *
 * Threads: a bucket belongs to one thread. Each function waits for the network, and returns 0 or
 * -errno with the store's own words.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/error.h"
#include "object/http.h"

struct object_bucket;

enum { OBJECT_UPLOAD_BYTES = 512 };

struct object_lock {
    enum blx_object_lock mode;
    time_t until;
};

enum object_write { OBJECT_WRITE_ONCE, OBJECT_WRITE_ANYWAY };

/* One version of a key. A marker says that the key was deleted; what it hides is still there. */
struct object_version {
    char key[OBJECT_KEY_BYTES]; /* below the prefix */
    char id[OBJECT_VALUE_BYTES];
    uint64_t bytes;
    time_t written; /* by the store's clock; 0: it does not say */
    bool is_marker;
    bool is_newest;
};

/* Credentials and place come from the configuration's group. */
int object_bucket_open(const struct blx_config_object_store *config, struct object_bucket **bucket,
                       struct blx_error *err);
void object_bucket_close(struct object_bucket *bucket);

/* Bodies go no faster than that from now on. The pace must outlive the bucket. */
struct object_pace;
void object_bucket_set_pace(struct object_bucket *bucket, struct object_pace *pace);

/* "https://host/bucket/prefix/", for messages. */
const char *object_bucket_name(const struct object_bucket *bucket);

/* The store's software as it calls itself, and how far its clock is from ours in seconds, after the
 * first answer. False: it did not say. */
bool object_bucket_describe(const struct object_bucket *bucket, char software[OBJECT_VALUE_BYTES],
                            int64_t *clock_ahead_s);

/* Writes a key, with a lock unless `lock` is NULL. `version` becomes its version, "" if the bucket
 * has none. -EEXIST: it is there, and OBJECT_WRITE_ONCE was asked for. */
int object_bucket_put(struct object_bucket *bucket, const char *key, const void *content,
                      size_t bytes, const struct object_lock *lock, enum object_write how,
                      char version[OBJECT_VALUE_BYTES], struct blx_error *err);

/* Reads `bytes` from `offset` of a version ("": the newest). -EBADMSG: the store sent another
 * count. -ENOENT: there is none. */
int object_bucket_get(struct object_bucket *bucket, const char *key, const char *version,
                      uint64_t offset, void *content, size_t bytes, struct blx_error *err);

/* How large the newest version is. -ENOENT: there is none, or it was deleted. */
int object_bucket_look(struct object_bucket *bucket, const char *key, uint64_t *bytes,
                       struct blx_error *err);

/* As object_bucket_put(), with the content of a file. */
int object_bucket_put_file(struct object_bucket *bucket, const char *key,
                           const struct object_file *file, size_t bytes,
                           const struct object_lock *lock, enum object_write how,
                           char version[OBJECT_VALUE_BYTES], struct blx_error *err);

/*
 * A large object in parts. Each part but the last has the same size; they may be sent by several
 * buckets at once. `number` begins with 1, and `etag` is for the end. If it is not ended it is to
 * be given up, or the store keeps the parts for ever.
 */
int object_bucket_begin_parts(struct object_bucket *bucket, const char *key,
                              const struct object_lock *lock, char upload[OBJECT_UPLOAD_BYTES],
                              struct blx_error *err);
int object_bucket_put_part(struct object_bucket *bucket, const char *key, const char *upload,
                           unsigned number, const struct object_file *file, size_t bytes,
                           char etag[OBJECT_VALUE_BYTES], struct blx_error *err);
int object_bucket_end_parts(struct object_bucket *bucket, const char *key, const char *upload,
                            const char (*etags)[OBJECT_VALUE_BYTES], unsigned count,
                            char version[OBJECT_VALUE_BYTES], struct blx_error *err);
int object_bucket_abort_parts(struct object_bucket *bucket, const char *key, const char *upload,
                              struct blx_error *err);

/* Calls visit() for each upload in parts below `prefix` that has begun and not ended. Ends after
 * one page of the store's. */
typedef int object_visit_upload(void *arg, const char *key, const char *upload, time_t begun);
int object_bucket_list_uploads(struct object_bucket *bucket, const char *prefix,
                               object_visit_upload *visit, void *arg, struct blx_error *err);

/* Deletes a version for good, or with "" puts a marker over the key. `use_bypass`: also against a
 * lock of the mode GOVERNANCE, if the credentials may. -EACCES: refused. */
enum object_bypass { OBJECT_RESPECT_LOCK, OBJECT_USE_BYPASS };
int object_bucket_delete(struct object_bucket *bucket, const char *key, const char *version,
                         enum object_bypass bypass, struct blx_error *err);

/* Sets the lock of a version. -EACCES: it may not be shortened. */
int object_bucket_set_lock(struct object_bucket *bucket, const char *key, const char *version,
                           const struct object_lock *lock, enum object_bypass bypass,
                           struct blx_error *err);
/* The mode BLX_OBJECT_LOCK_NONE if it has none. */
int object_bucket_get_lock(struct object_bucket *bucket, const char *key, const char *version,
                           struct object_lock *lock, struct blx_error *err);

/* Whether the bucket keeps versions, and whether it was made with object lock. */
int object_bucket_get_versioning(struct object_bucket *bucket, bool *keeps, struct blx_error *err);
int object_bucket_get_locking(struct object_bucket *bucket, bool *can_lock, struct blx_error *err);

/* Calls visit() for each version and marker of the keys that begin with `prefix`, in the order of
 * keys, pages of at most `page` at a time. Less than 0 from visit() ends it. */
typedef int object_visit(void *arg, const struct object_version *version);
int object_bucket_list(struct object_bucket *bucket, const char *prefix, unsigned page,
                       object_visit *visit, void *arg, struct blx_error *err);

/* Calls visit() with the name of each folder directly below `prefix`, which ends in a slash: the
 * part of the keys up to the next slash. */
typedef int object_visit_folder(void *arg, const char *name);
int object_bucket_list_folders(struct object_bucket *bucket, const char *prefix,
                               object_visit_folder *visit, void *arg, struct blx_error *err);

/* As the protocol has it: "GOVERNANCE", "COMPLIANCE", or "". */
const char *object_lock_name(enum blx_object_lock mode);
