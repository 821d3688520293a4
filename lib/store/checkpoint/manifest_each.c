/* SPDX-License-Identifier: Apache-2.0 */
/* Reads many manifests: opening so many small files is what costs, above all on a cold disk. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "store/checkpoint/manifest_file_private.h"

/* Few checkpoints are read by the caller's thread alone. A chain of 10,000 was opened in three
 * quarters of the time with seven readers in place of two, and warm in little more than half. */
enum { BATCH = 256, MAX_READERS = 7, MANIFESTS_PER_READER = 32 };

struct slot {
    struct blx_manifest manifest;
    struct blx_error err; /* code 0: none */
};

/* What the readers share: each takes the next slot until there is none. */
struct batch {
    const struct blx_manifest_folder *folder;
    const blx_timestamp *timestamps;
    struct slot *slots; /* BATCH of them, or `count` if there are never more */
    size_t count;
    atomic_size_t next;
    pthread_t readers[MAX_READERS];
    size_t reader_count;
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
            blx_manifest_read_in(batch->folder, batch->timestamps[i], &slot->manifest, &slot->err);
    }
    return NULL;
}

static void batch_begin(struct batch *batch, const blx_timestamp *timestamps, size_t count)
{
    batch->timestamps = timestamps;
    batch->count = count < BATCH ? count : BATCH;
    batch->reader_count = 0;
    atomic_store(&batch->next, 0);
    size_t wanted = batch->count / MANIFESTS_PER_READER;
    wanted = wanted < MAX_READERS ? wanted : MAX_READERS;
    while (batch->reader_count < wanted &&
           pthread_create(&batch->readers[batch->reader_count], NULL, read_slots, batch) == 0)
        batch->reader_count++;
}

/* The caller reads too, so that it matters little if no thread can be had. */
static void batch_finish(struct batch *batch)
{
    read_slots(batch);
    for (size_t i = 0; i < batch->reader_count; i++)
        pthread_join(batch->readers[i], NULL);
}

/* Visits none if `rc` says that something failed before. Frees all. */
static int batch_visit(struct batch *batch, int rc,
                       int (*visit)(void *arg, const struct blx_manifest *manifest,
                                    const struct blx_error *damage, struct blx_error *err),
                       void *arg, struct blx_error *err)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct slot *slot = &batch->slots[i];
        if (rc == 0 && slot->err.code != -ENOENT)
            rc = slot->err.code == 0 ? visit(arg, &slot->manifest, NULL, err)
                                     : visit(arg, NULL, &slot->err, err);
        blx_manifest_done(&slot->manifest);
    }
    return rc;
}

/* While one batch is visited, the next one is read. */
int blx_manifest_each(struct blx_agent_store agent, const blx_timestamp *timestamps, size_t count,
                      int (*visit)(void *arg, const struct blx_manifest *manifest,
                                   const struct blx_error *damage, struct blx_error *err),
                      void *arg, struct blx_error *err)
{
    size_t size = count < BATCH ? count + 1 : BATCH;
    BLX_CLEANUP_FREE struct slot *slots = calloc(2 * size, sizeof(slots[0]));
    if (slots == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot read the checkpoints of '%s'", agent.id);
    struct blx_manifest_folder folder;
    int rc = blx_manifest_folder_open(agent, &folder, err);
    if (rc < 0)
        return rc;
    struct batch batches[2] = {{.folder = &folder, .slots = slots},
                               {.folder = &folder, .slots = slots + size}};
    struct batch *batch = &batches[0], *next = &batches[1];
    batch_begin(batch, timestamps, count);
    for (size_t done = 0; done < count;) {
        batch_finish(batch);
        done += batch->count;
        next->count = 0;
        if (rc == 0 && done < count)
            batch_begin(next, timestamps + done, count - done);
        rc = batch_visit(batch, rc, visit, arg, err);
        if (next->count == 0)
            break;
        struct batch *visited = batch;
        batch = next;
        next = visited;
    }
    close(folder.fd);
    return rc;
}
