/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where an object store keeps our objects: a host, a bucket, and a prefix of all keys.
 *
 *     https://HOST[:PORT]/BUCKET[/PREFIX]    any store; the bucket stands in the path
 *     s3://BUCKET[/PREFIX]                   AWS, in the given region
 *
 * A bucket and a prefix consist of characters that no store and no proxy encodes in its own way, so
 * that what is signed is what arrives.
 *
 * Threads: a place is filled once and then only read.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "config/config.h"

enum {
    OBJECT_HOST_BYTES = 320,
    OBJECT_BUCKET_BYTES = 64,
    OBJECT_KEY_BYTES = 512, /* a prefix and what follows it */
};

struct object_place {
    bool tls;
    bool bucket_in_host;          /* the host is "BUCKET.HOST", and the path has the key alone */
    char host[OBJECT_HOST_BYTES]; /* with the bucket before it if it stands there, and the port */
    char bucket[OBJECT_BUCKET_BYTES];
    char prefix[OBJECT_KEY_BYTES]; /* "" or "a/b/", with the slash */
};

/* -EINVAL: the URL, the region or the style is not one of the above. */
int object_place_parse(const struct blx_config_object_store *config, struct object_place *place,
                       struct blx_error *err);

/* The path of a request: "/BUCKET/PREFIXkey", or without the bucket. `key` "": the bucket itself.
 * -ENAMETOOLONG, or -EINVAL if the key has a character that would have to be encoded. */
int object_place_path(const struct object_place *place, const char *key, char *path, size_t bytes,
                      struct blx_error *err);
