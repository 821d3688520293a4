/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies read as a data directory, by way of a cache on the disk:
 *
 *     CACHE/objects/HASH    whole segments, each with the hash of its name when it came
 *     CACHE/run-XXXXXX/     a data directory for one command; gone with it
 *         fetch.sock        whoever reads a part asks there for the whole (segment_part.h)
 *         parts/            tails on their way to their places
 *
 * It is only a cache: it may be removed at any time, and what is in use then stays until its reader
 * ends. What a checkpoint's own object says about tails and wholes is checked, so whoever can
 * write to the copy can take something from us, and not give us something else.
 *
 * Threads: one makes it; then object_cache_serve() has some of its own. Waits for network and disk.
 */
#pragma once

#include <limits.h>
#include <pthread.h>

#include "base/error.h"
#include "object/adopt.h"
#include "store/store.h"

/* What the command will read. */
enum object_cache_want {
    OBJECT_CACHE_LISTS,  /* manifests alone */
    OBJECT_CACHE_TAILS,  /* and tails; the rest when it is asked for */
    OBJECT_CACHE_AHEAD,  /* the same, and whatever was not asked for is fetched meanwhile */
    OBJECT_CACHE_WHOLES, /* everything, now */
};

struct object_cache_piece; /* a segment */

struct object_cache {
    char dir[PATH_MAX];     /* CACHE */
    char run_dir[PATH_MAX]; /* "": it is not made yet */
    int alive_fd;           /* its lock tells that the command lives */
    enum object_cache_want want;
    uint64_t limit_bytes; /* of the wholes that stay */
    struct object_depot *depot;
    struct blx_store store;
    char agent_id[BLX_NAME_BYTES];     /* that is being made */
    struct object_cache_piece *pieces; /* owned */
    size_t count;
    pthread_mutex_t depot_lock; /* whoever uses the depot has it, and takes no other one */
    pthread_mutex_t lock;       /* guards what follows */
    pthread_cond_t changed;
    size_t asking;  /* clients */
    size_t waiting; /* of these, for the depot */
    bool stopped;
};

/* Makes CACHE and an empty data directory in it, and removes what killed commands left there. */
int object_cache_open(struct object_cache *cache, const char *dir, struct object_depot *depot,
                      enum object_cache_want want, uint64_t limit_bytes, struct blx_error *err);

/* Adds an agent: its checkpoint ("latest", 14 digits), or NULL for all. */
int object_cache_add(struct object_cache *cache, const char *agent_id, const char *checkpoint,
                     struct blx_error *err);

/* Begins to listen; then the data directory is ready. */
int object_cache_listen(const struct object_cache *cache, int *listen_fd, struct blx_error *err);

/* Answers until `life_fd` has ended. */
void object_cache_serve(struct object_cache *cache, int listen_fd, int life_fd);

/* Removes the data directory, and the wholes that were used longest ago beyond the limit. */
void object_cache_close(struct object_cache *cache);
