/* SPDX-License-Identifier: Apache-2.0 */
#include "store/view/frame_cache_private.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/assert.h"

enum {
    MAX_SHARDS = 16,
    SHARD_BYTES = 4 << 20, /* a smaller cache has fewer shards: each should have room for frames */
    BUCKETS = 64,          /* of a shard */
    SPARES = 1,            /* buffers that a shard keeps for its next frames, of either kind */
};

enum frame_state { FRAME_LOADING, FRAME_READY };

struct blx_cached_frame {
    struct blx_frame_key key;
    enum frame_state state;
    unsigned users; /* those between get and put, and those that wait for it */
    bool forgotten; /* it is in no bucket; the last user frees it */
    struct blx_cached_content content;
    struct blx_cached_frame *next;          /* in its bucket */
    struct blx_cached_frame *newer, *older; /* by use */
};

/* Memory to be used again. */
struct spares {
    struct blx_stored_bytes buffers[SPARES]; /* owned */
    size_t count;
};

/* `lock` guards all of it. A frame that is LOADING belongs to its loader, one that is READY does
 * not change. */
struct shard {
    pthread_mutex_t lock;
    pthread_cond_t loaded; /* a frame has left LOADING */
    size_t bytes;
    struct spares data, packed;
    struct blx_cached_frame *newest, *oldest;
    struct blx_cached_frame *buckets[BUCKETS];
};

struct blx_frame_cache {
    size_t shard_bytes; /* the most in each, as long as nothing is lent */
    size_t shard_count;
    atomic_bool lent;
    atomic_uint_fast64_t views;
    struct shard shards[MAX_SHARDS];
};

struct blx_frame_cache *blx_frame_cache_new(size_t max_bytes)
{
    struct blx_frame_cache *cache = calloc(1, sizeof(*cache));
    if (cache == NULL)
        return NULL;
    cache->shard_count = max_bytes / SHARD_BYTES;
    if (cache->shard_count < 1)
        cache->shard_count = 1;
    if (cache->shard_count > MAX_SHARDS)
        cache->shard_count = MAX_SHARDS;
    cache->shard_bytes = max_bytes / cache->shard_count;
    for (size_t i = 0; i < cache->shard_count; i++) {
        pthread_mutex_init(&cache->shards[i].lock, NULL);
        pthread_cond_init(&cache->shards[i].loaded, NULL);
    }
    return cache;
}

size_t blx_frame_cache_spare_bytes(const struct blx_frame_cache *cache)
{
    return cache->shard_bytes * cache->shard_count / 4 * 3;
}

static size_t most_bytes(struct blx_frame_cache *cache)
{
    return cache->lent ? cache->shard_bytes / 4 : cache->shard_bytes;
}

static size_t memory_of(const struct blx_cached_frame *frame)
{
    return sizeof(*frame) + frame->content.data.size +
           frame->content.extent_count * sizeof(frame->content.extents[0]);
}

static struct blx_stored_bytes take_spare_locked(struct spares *spares)
{
    return spares->count > 0 ? spares->buffers[--spares->count] : (struct blx_stored_bytes){0};
}

static void put_spare_locked(struct spares *spares, struct blx_stored_bytes *buffer)
{
    if (buffer->bytes != NULL && spares->count < SPARES)
        spares->buffers[spares->count++] = *buffer;
    else
        free(buffer->bytes);
    *buffer = (struct blx_stored_bytes){0};
}

static void free_spares(struct spares *spares)
{
    while (spares->count > 0)
        free(spares->buffers[--spares->count].bytes);
}

static void free_frame_locked(struct shard *shard, struct blx_cached_frame *frame)
{
    put_spare_locked(&shard->data, &frame->content.data);
    free(frame->content.extents);
    free(frame);
}

static uint64_t mix(const struct blx_frame_key *key)
{
    uint64_t hash = key->frame_offset + key->segment * UINT64_C(0x9e3779b97f4a7c15) + key->view;
    hash ^= hash >> 29;
    hash *= UINT64_C(0xbf58476d1ce4e5b9);
    return hash ^ hash >> 32;
}

static struct shard *shard_of(struct blx_frame_cache *cache, const struct blx_frame_key *key)
{
    return &cache->shards[mix(key) % cache->shard_count];
}

static struct blx_cached_frame **bucket_of(struct shard *shard, const struct blx_frame_key *key)
{
    return &shard->buckets[(mix(key) >> 32) % BUCKETS];
}

static bool is_key(const struct blx_cached_frame *frame, const struct blx_frame_key *key)
{
    return frame->key.frame_offset == key->frame_offset && frame->key.segment == key->segment &&
           frame->key.view == key->view;
}

static void link_newest_locked(struct shard *shard, struct blx_cached_frame *frame)
{
    frame->newer = NULL;
    frame->older = shard->newest;
    if (shard->newest != NULL)
        shard->newest->newer = frame;
    shard->newest = frame;
    if (shard->oldest == NULL)
        shard->oldest = frame;
}

static void unlink_use_locked(struct shard *shard, struct blx_cached_frame *frame)
{
    *(frame->newer != NULL ? &frame->newer->older : &shard->newest) = frame->older;
    *(frame->older != NULL ? &frame->older->newer : &shard->oldest) = frame->newer;
}

/* Takes it out of the shard; it is freed now, or by its last user. */
static void forget_locked(struct shard *shard, struct blx_cached_frame *frame)
{
    struct blx_cached_frame **at = bucket_of(shard, &frame->key);
    blx_assert(!frame->forgotten);
    while (*at != frame)
        at = &(*at)->next;
    *at = frame->next;
    unlink_use_locked(shard, frame);
    frame->forgotten = true;
    if (frame->state == FRAME_READY)
        shard->bytes -= memory_of(frame);
    if (frame->users == 0)
        free_frame_locked(shard, frame);
}

static void shrink_locked(struct shard *shard, size_t max_bytes)
{
    struct blx_cached_frame *frame = shard->oldest;
    while (frame != NULL && shard->bytes > max_bytes) {
        struct blx_cached_frame *newer = frame->newer;
        if (frame->users == 0)
            forget_locked(shard, frame);
        frame = newer;
    }
}

void blx_frame_cache_free(struct blx_frame_cache *cache)
{
    if (cache == NULL)
        return;
    for (size_t i = 0; i < cache->shard_count; i++) {
        struct shard *shard = &cache->shards[i];
        pthread_mutex_lock(&shard->lock);
        shrink_locked(shard, 0);
        blx_assert(shard->oldest == NULL);
        free_spares(&shard->data);
        free_spares(&shard->packed);
        pthread_mutex_unlock(&shard->lock);
        pthread_cond_destroy(&shard->loaded);
        pthread_mutex_destroy(&shard->lock);
    }
    free(cache);
}

bool blx_frame_cache_lend(struct blx_frame_cache *cache)
{
    bool lent = false;
    if (!atomic_compare_exchange_strong(&cache->lent, &lent, true))
        return false;
    for (size_t i = 0; i < cache->shard_count; i++) {
        struct shard *shard = &cache->shards[i];
        pthread_mutex_lock(&shard->lock);
        shrink_locked(shard, most_bytes(cache));
        pthread_mutex_unlock(&shard->lock);
    }
    return true;
}

void blx_frame_cache_return(struct blx_frame_cache *cache)
{
    bool lent = atomic_exchange(&cache->lent, false);
    blx_assert(lent);
}

uint64_t blx_frame_cache_new_view(struct blx_frame_cache *cache)
{
    return atomic_fetch_add(&cache->views, 1);
}

static struct blx_cached_frame *find_locked(struct shard *shard, const struct blx_frame_key *key)
{
    struct blx_cached_frame *frame = *bucket_of(shard, key);
    while (frame != NULL && !is_key(frame, key))
        frame = frame->next;
    return frame;
}

/* The calling thread is to load it. NULL: no memory. */
static struct blx_cached_frame *add_locked(struct shard *shard, const struct blx_frame_key *key)
{
    struct blx_cached_frame *frame = calloc(1, sizeof(*frame));
    struct blx_cached_frame **bucket = bucket_of(shard, key);
    if (frame == NULL)
        return NULL;
    frame->key = *key;
    frame->users = 1;
    frame->content.data = take_spare_locked(&shard->data);
    frame->content.packed = take_spare_locked(&shard->packed);
    frame->next = *bucket;
    *bucket = frame;
    link_newest_locked(shard, frame);
    return frame;
}

static void put_locked(struct shard *shard, struct blx_cached_frame *frame)
{
    blx_assert(frame->users > 0);
    if (--frame->users == 0 && frame->forgotten)
        free_frame_locked(shard, frame);
}

/* The frame that is there, once it is READY; NULL if there is none. */
static struct blx_cached_frame *await_locked(struct shard *shard, const struct blx_frame_key *key)
{
    struct blx_cached_frame *frame;
    while ((frame = find_locked(shard, key)) != NULL) {
        frame->users++;
        while (frame->state == FRAME_LOADING && !frame->forgotten)
            pthread_cond_wait(&shard->loaded, &shard->lock);
        if (frame->state == FRAME_READY)
            break;
        put_locked(shard, frame); /* its loader has failed */
    }
    return frame;
}

static int load_frame(struct shard *shard, struct blx_cached_frame *frame, size_t max_bytes,
                      int (*load)(void *arg, struct blx_cached_content *content,
                                  struct blx_error *err),
                      void *arg, struct blx_error *err)
{
    int rc = load(arg, &frame->content, err);
    pthread_mutex_lock(&shard->lock);
    put_spare_locked(&shard->packed, &frame->content.packed);
    if (rc == 0) {
        frame->state = FRAME_READY;
        shard->bytes += memory_of(frame);
        shrink_locked(shard, max_bytes);
    } else {
        forget_locked(shard, frame);
        put_locked(shard, frame);
    }
    pthread_cond_broadcast(&shard->loaded);
    pthread_mutex_unlock(&shard->lock);
    return rc;
}

int blx_frame_cache_get(struct blx_frame_cache *cache, const struct blx_frame_key *key,
                        int (*load)(void *arg, struct blx_cached_content *content,
                                    struct blx_error *err),
                        void *arg, struct blx_cached_frame **frame, struct blx_error *err)
{
    struct shard *shard = shard_of(cache, key);
    pthread_mutex_lock(&shard->lock);
    struct blx_cached_frame *found = await_locked(shard, key);
    if (found != NULL) {
        if (!found->forgotten && shard->newest != found) {
            unlink_use_locked(shard, found);
            link_newest_locked(shard, found);
        }
        pthread_mutex_unlock(&shard->lock);
        *frame = found;
        return 0;
    }
    found = add_locked(shard, key);
    pthread_mutex_unlock(&shard->lock);
    if (found == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot read a stored frame");
    int rc = load_frame(shard, found, most_bytes(cache), load, arg, err);
    if (rc == 0)
        *frame = found;
    return rc;
}

void blx_frame_cache_put(struct blx_frame_cache *cache, struct blx_cached_frame *frame)
{
    struct shard *shard = shard_of(cache, &frame->key);
    pthread_mutex_lock(&shard->lock);
    put_locked(shard, frame);
    pthread_mutex_unlock(&shard->lock);
}

const struct blx_cached_content *blx_cached_frame_content(const struct blx_cached_frame *frame)
{
    return &frame->content;
}

void blx_frame_cache_drop(struct blx_frame_cache *cache, uint64_t view)
{
    for (size_t i = 0; i < cache->shard_count; i++) {
        struct shard *shard = &cache->shards[i];
        pthread_mutex_lock(&shard->lock);
        for (struct blx_cached_frame *frame = shard->oldest, *newer; frame != NULL; frame = newer) {
            newer = frame->newer;
            blx_assert(frame->key.view != view || frame->users == 0);
            if (frame->key.view == view && frame->users == 0)
                forget_locked(shard, frame);
        }
        pthread_mutex_unlock(&shard->lock);
    }
}

size_t blx_frame_cache_memory_bytes(struct blx_frame_cache *cache)
{
    size_t bytes = 0;
    for (size_t i = 0; i < cache->shard_count; i++) {
        pthread_mutex_lock(&cache->shards[i].lock);
        bytes += cache->shards[i].bytes;
        pthread_mutex_unlock(&cache->shards[i].lock);
    }
    return bytes;
}
