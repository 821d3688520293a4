/* Many manifests: what costs is to open so many small files, on a cold disk above all. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "store/manifest_codec.h"

/* Few checkpoints are read by the caller's thread alone. */
enum { BATCH = 2048, MAX_READERS = 8, MANIFESTS_PER_READER = 32 };

struct slot {
    struct blx_manifest manifest;
    struct blx_error err; /* code 0: none */
};

/* What the readers share: each takes the next slot until there is none. */
struct batch {
    const char *dir; /* where they lie */
    const blx_timestamp *timestamps;
    struct slot *slots;
    size_t count;
    atomic_size_t next;
};

static void *read_slots(void *arg)
{
    struct batch *batch = arg;
    size_t i;
    while ((i = atomic_fetch_add(&batch->next, 1)) < batch->count) {
        struct slot *slot = &batch->slots[i];
        slot->manifest = (struct blx_manifest){0};
        blx_error_clear(&slot->err);
        slot->err.code =
            blx_manifest_read_in(batch->dir, batch->timestamps[i], &slot->manifest, &slot->err);
    }
    return NULL;
}

/* The caller reads too, so that it matters little if no thread can be had. */
static void read_batch(struct batch *batch)
{
    pthread_t threads[MAX_READERS];
    size_t wanted = batch->count / MANIFESTS_PER_READER, started = 0;
    wanted = wanted < MAX_READERS ? wanted : MAX_READERS;
    while (started < wanted && pthread_create(&threads[started], NULL, read_slots, batch) == 0)
        started++;
    read_slots(batch);
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
}

int blx_manifest_each(const struct blx_store *store, const char *agent_id,
                      const blx_timestamp *timestamps, size_t count,
                      int (*visit)(void *arg, const struct blx_manifest *manifest,
                                   const struct blx_error *damage, struct blx_error *err),
                      void *arg, struct blx_error *err)
{
    char dir[PATH_MAX];
    int rc = blx_manifest_dir(store, agent_id, dir, err);
    if (rc < 0)
        return rc;
    struct slot *slots = calloc(count < BATCH ? count + 1 : BATCH, sizeof(slots[0]));
    if (slots == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot read the checkpoints of '%s'", agent_id);
    for (size_t start = 0; rc == 0 && start < count; start += BATCH) {
        struct batch batch = {.dir = dir,
                              .timestamps = timestamps + start,
                              .slots = slots,
                              .count = count - start < BATCH ? count - start : BATCH};
        read_batch(&batch);
        for (size_t i = 0; i < batch.count; i++) {
            struct slot *slot = &slots[i];
            if (rc == 0 && slot->err.code != -ENOENT)
                rc = slot->err.code == 0 ? visit(arg, &slot->manifest, NULL, err)
                                         : visit(arg, NULL, &slot->err, err);
            blx_manifest_done(&slot->manifest);
        }
    }
    free(slots);
    return rc;
}
