/* SPDX-License-Identifier: Apache-2.0 */
#include "object/depot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "object/depot_private.h"

bool object_depot_is_url(const char *where)
{
    return strncmp(where, "s3://", 5) == 0 || strncmp(where, "https://", 8) == 0 ||
           strncmp(where, "http://", 7) == 0;
}

int object_depot_open(const char *where, const struct blx_config *config,
                      struct object_depot **depot, struct blx_error *err)
{
    struct blx_config_object_store store = config->object_store;
    if (!object_depot_is_url(where))
        return object_depot_open_folder(where, depot, err);
    store.url = (char *)where;
    if (store.region == NULL)
        store.region = getenv("AWS_REGION");
    return object_depot_open_bucket(&store, &config->bandwidth_limit, depot, err);
}

void object_depot_close(struct object_depot *depot)
{
    if (depot == NULL)
        return;
    free(depot->name);
    depot->ops->close(depot);
}

const char *object_depot_name(const struct object_depot *depot)
{
    return depot->name;
}

struct object_bucket *object_depot_bucket(const struct object_depot *depot)
{
    return object_depot_first_bucket(depot);
}

int object_depot_put_file(struct object_depot *depot, const char *key, int fd, uint64_t bytes,
                          const struct object_lock *lock, struct blx_error *err)
{
    return depot->ops->put_file(depot, key, fd, bytes, lock, err);
}

int object_depot_put(struct object_depot *depot, const char *key, const void *content, size_t bytes,
                     const struct object_lock *lock, struct blx_error *err)
{
    return depot->ops->put(depot, key, content, bytes, lock, err);
}

int object_depot_set_lock(struct object_depot *depot, const char *key,
                          const struct object_lock *lock, struct blx_error *err)
{
    return depot->ops->set_lock(depot, key, lock, err);
}

int object_depot_fetch(struct object_depot *depot, const char *key,
                       const uint8_t hash[OBJECT_HASH_BYTES], uint64_t bytes, int fd,
                       struct blx_error *err)
{
    return depot->ops->fetch(depot, key, hash, bytes, fd, err);
}

int object_depot_read(struct object_depot *depot, const char *key,
                      const uint8_t hash[OBJECT_HASH_BYTES], size_t limit, void **content,
                      size_t *bytes, struct blx_error *err)
{
    return depot->ops->read(depot, key, hash, limit, content, bytes, err);
}

int object_depot_list(struct object_depot *depot, const char *folder, object_depot_visit_key *visit,
                      void *arg, struct blx_error *err)
{
    return depot->ops->list(depot, folder, visit, arg, err);
}

int object_depot_list_folders(struct object_depot *depot, const char *folder,
                              object_depot_visit *visit, void *arg, struct blx_error *err)
{
    return depot->ops->list_folders(depot, folder, visit, arg, err);
}

int object_depot_remove(struct object_depot *depot, const char *key, struct blx_error *err)
{
    return depot->ops->remove(depot, key, err);
}

int object_depot_clean(struct object_depot *depot, const char *folder, struct blx_error *err)
{
    return depot->ops->clean(depot, folder, err);
}

int object_depot_read_ranges(struct object_depot *depot, struct object_range *ranges, size_t count,
                             struct blx_error *err)
{
    return depot->ops->read_ranges(depot, ranges, count, err);
}

int object_hash_part(int fd, uint64_t offset, uint64_t bytes, uint8_t hash[OBJECT_HASH_BYTES],
                     struct blx_error *err)
{
    struct object_digest digest;
    char buffer[64 << 10];
    int rc = object_digest_begin(&digest, OBJECT_DIGEST_PLAIN, err);
    for (uint64_t at = 0; rc == 0 && at < bytes;) {
        size_t step = bytes - at < sizeof(buffer) ? (size_t)(bytes - at) : sizeof(buffer);
        rc = blx_pread_full(fd, buffer, step, offset + at);
        if (rc < 0)
            blx_error_errno(err, rc, "cannot read what is copied");
        else
            object_digest_add(&digest, buffer, step);
        at += step;
    }
    object_digest_end(&digest, hash, NULL);
    return rc;
}

int object_hash_file(int fd, uint64_t bytes, uint8_t hash[OBJECT_HASH_BYTES], struct blx_error *err)
{
    return object_hash_part(fd, 0, bytes, hash, err);
}
