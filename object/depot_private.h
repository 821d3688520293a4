/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two kinds of depots behind depot.h. Private to object/.
 *
 * Threads: as depot.h says.
 */
#pragma once

#include "object/depot.h"

struct object_depot_ops {
    void (*close)(struct object_depot *depot);
    int (*put_file)(struct object_depot *depot, const char *key, int fd, uint64_t bytes,
                    const struct object_lock *lock, struct blx_error *err);
    int (*put)(struct object_depot *depot, const char *key, const void *content, size_t bytes,
               const struct object_lock *lock, struct blx_error *err);
    int (*set_lock)(struct object_depot *depot, const char *key, const struct object_lock *lock,
                    struct blx_error *err);
    int (*fetch)(struct object_depot *depot, const char *key, const uint8_t *hash, uint64_t bytes,
                 int fd, struct blx_error *err);
    int (*read)(struct object_depot *depot, const char *key, const uint8_t *hash, size_t limit,
                void **content, size_t *bytes, struct blx_error *err);
    int (*read_ranges)(struct object_depot *depot, struct object_range *ranges, size_t count,
                       struct blx_error *err);
    int (*list)(struct object_depot *depot, const char *folder, object_depot_visit_key *visit,
                void *arg, struct blx_error *err);
    int (*list_folders)(struct object_depot *depot, const char *folder, object_depot_visit *visit,
                        void *arg, struct blx_error *err);
    int (*remove)(struct object_depot *depot, const char *key, struct blx_error *err);
    int (*clean)(struct object_depot *depot, const char *folder, struct blx_error *err);
};

struct object_depot {
    const struct object_depot_ops *ops;
    char *name; /* owned */
};

int object_depot_open_folder(const char *path, struct object_depot **depot, struct blx_error *err);
int object_depot_open_bucket(const struct blx_config_object_store *config,
                             const struct blx_bandwidth *limit, struct object_depot **depot,
                             struct blx_error *err);
struct object_bucket *object_depot_first_bucket(const struct object_depot *depot);
