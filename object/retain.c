/* SPDX-License-Identifier: Apache-2.0 */
#include "object/retain.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "object/history.h"
#include "store/agent_lock.h"
#include "store/checkpoint/manifest.h"
#include "store/own_id.h"

enum { COPIES_WAIT_MS = 1000 };

/* An object that a checkpoint names. Its hash alone tells it apart. */
struct named {
    uint8_t hash[BLX_COPIED_HASH_BYTES];
};

struct names {
    struct named *all; /* owned; by hash after sort_names() */
    size_t count;
};

/* A checkpoint of the depot. */
struct judged {
    const struct object_history_entry *entry;
    blx_timestamp time; /* a name that contradicts the time of the commit does not count */
    bool is_damaged;
};

struct retaining {
    const struct object_retain_request *request;
    struct object_retain_report *report;
    const char *own_id;
    struct judged *checkpoints; /* owned; those that can be read, ascending */
    size_t count;
    struct names needed;                  /* by those that stay */
    const char *volume;                   /* whose folder is being listed */
    char (*doomed)[BLX_COPIED_KEY_BYTES]; /* owned; its objects that go */
    size_t doomed_count;
};

static int no_memory(struct blx_error *err)
{
    return blx_error_errno(err, -ENOMEM, "cannot look for copies that nobody needs");
}

static int compare_names(const void *a, const void *b)
{
    const struct named *x = a, *y = b;
    return memcmp(x->hash, y->hash, sizeof(x->hash));
}

static void sort_names(struct names *names)
{
    if (names->count > 0)
        qsort(names->all, names->count, sizeof(names->all[0]), compare_names);
}

static const struct named *find_name(const struct names *names,
                                     const uint8_t hash[BLX_COPIED_HASH_BYTES])
{
    struct named wanted;
    memcpy(wanted.hash, hash, sizeof(wanted.hash));
    return names->count == 0
               ? NULL
               : bsearch(&wanted, names->all, names->count, sizeof(names->all[0]), compare_names);
}

static int add_names(struct names *names, const struct blx_copied *copied)
{
    for (size_t i = 0; i < copied->object_count; i++) {
        if (blx_array_make_room(names->all, names->count) < 0)
            return -ENOMEM;
        memcpy(names->all[names->count++].hash, copied->objects[i].hash, BLX_COPIED_HASH_BYTES);
    }
    return 0;
}

/* Notes the checkpoint, and whether it lacks what its agent could not read. What no version of the
 * key holds can never be read, so it needs nothing. */
static int note_checkpoint(struct retaining *retaining, const struct object_history_entry *entry,
                           struct blx_error *err)
{
    BLX_CLEANUP_COPIED struct blx_copied copied = {0};
    struct blx_error cause = {0};
    int rc =
        object_history_read(retaining->request->depot, retaining->own_id, entry, &copied, &cause);
    if (rc == -EBADMSG || rc == -ENOENT)
        return 0;
    if (rc < 0)
        return blx_error_copy(err, rc, &cause);
    if (blx_array_make_room(retaining->checkpoints, retaining->count) < 0)
        return no_memory(err);
    retaining->checkpoints[retaining->count++] =
        (struct judged){.entry = entry,
                        .time = blx_manifest_time(&copied.manifest),
                        .is_damaged = blx_manifest_unreadable_bytes(&copied.manifest) > 0};
    return 0;
}

/* What the rules say of this store's copies, of which the newest stays. */
static int judge(const struct retaining *retaining, uint32_t *verdicts, struct blx_error *err)
{
    size_t ours = 0;
    BLX_CLEANUP_FREE struct blx_retention_item *items =
        calloc(retaining->count + 1, sizeof(items[0]));
    if (items == NULL)
        return no_memory(err);
    while (ours < retaining->count &&
           retaining->checkpoints[ours].entry->timestamp <= retaining->request->newest)
        ours++;
    for (size_t i = 0; i < ours; i++)
        items[i] = (struct blx_retention_item){.time = retaining->checkpoints[i].time,
                                               .damaged = retaining->checkpoints[i].is_damaged};
    blx_retention_judge(retaining->request->retention, items, ours, blx_clock_realtime_ns(),
                        verdicts);
    for (size_t i = ours == 0 ? 0 : ours - 1; i < retaining->count; i++)
        verdicts[i] |= blx_retention_bit(BLX_KEEP_NEWEST);
    return 0;
}

/* 1: it is gone; 0: a lock keeps it. */
static int remove_key(struct retaining *retaining, const char *key, struct blx_error *err)
{
    struct blx_error cause = {0};
    int rc = object_depot_remove(retaining->request->depot, key, &cause);
    if (rc == -EACCES) {
        retaining->report->locked++;
        return 0;
    }
    return rc < 0 ? blx_error_copy(err, rc, &cause) : 1;
}

static int remove_checkpoints(struct retaining *retaining, const uint32_t *verdicts,
                              struct blx_error *err)
{
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < retaining->count; i++) {
        char key[BLX_COPIED_KEY_BYTES];
        const struct judged *judged = &retaining->checkpoints[i];
        if (verdicts[i] != 0)
            continue;
        blx_copied_checkpoint_key(key, retaining->own_id, judged->entry->timestamp,
                                  judged->entry->hash);
        rc = remove_key(retaining, key, err);
        retaining->report->checkpoints += rc == 1;
    }
    return rc < 0 ? rc : 0;
}

/* Reads what the depot lists now: whatever came or stayed meanwhile counts. */
static int collect_needed(struct retaining *retaining, struct blx_error *err)
{
    OBJECT_CLEANUP_HISTORY struct object_history now = {0};
    int rc = object_history_list(retaining->request->depot, retaining->own_id, &now, err);
    for (size_t i = 0; rc == 0 && i < now.count; i++) {
        BLX_CLEANUP_COPIED struct blx_copied copied = {0};
        struct blx_error cause = {0};
        rc = object_history_read(retaining->request->depot, retaining->own_id, &now.entries[i],
                                 &copied, &cause);
        if (rc == 0 && add_names(&retaining->needed, &copied) < 0)
            rc = no_memory(err);
        else if (rc == -EBADMSG || rc == -ENOENT)
            rc = 0;
        else if (rc < 0)
            blx_error_copy(err, rc, &cause);
    }
    sort_names(&retaining->needed);
    return rc;
}

static int consider_object(void *arg, const char *name, time_t written)
{
    struct retaining *retaining = arg;
    char *end = NULL;
    uint8_t hash[BLX_COPIED_HASH_BYTES];
    unsigned long number = strtoul(name, &end, 10);
    struct blx_copied_object object = {0};
    char key[BLX_COPIED_KEY_BYTES];
    if (number > UINT32_MAX || blx_copied_parse_segment(name, hash) < 0 ||
        find_name(&retaining->needed, hash) != NULL || written == 0 ||
        (int64_t)written + retaining->request->orphan_s > (int64_t)time(NULL))
        return 0;
    memcpy(object.hash, hash, sizeof(object.hash));
    blx_copied_segment_key(key, retaining->own_id, retaining->volume, (uint32_t)number, &object);
    if (blx_array_make_room(retaining->doomed, retaining->doomed_count) < 0)
        return -ENOMEM;
    memcpy(retaining->doomed[retaining->doomed_count++], key, sizeof(key));
    return 0;
}

/* The list first, since what is being listed should not change. */
static int clear_volume(struct retaining *retaining, const char *volume, struct blx_error *err)
{
    char folder[BLX_COPIED_KEY_BYTES];
    retaining->volume = volume;
    retaining->doomed_count = 0;
    snprintf(folder, sizeof(folder), "agents/%.64s/volumes/%.64s/", retaining->own_id, volume);
    int rc = object_depot_list(retaining->request->depot, folder, consider_object, retaining, err);
    for (size_t i = 0; rc >= 0 && i < retaining->doomed_count; i++) {
        rc = remove_key(retaining, retaining->doomed[i], err);
        retaining->report->objects += rc == 1;
    }
    return rc < 0 ? rc : 0;
}

struct volumes {
    char (*names)[BLX_NAME_BYTES]; /* owned */
    size_t count;
};

static int take_volume(void *arg, const char *name)
{
    struct volumes *volumes = arg;
    if (blx_name_check("volume name", name, NULL) < 0)
        return 0;
    if (blx_array_make_room(volumes->names, volumes->count) < 0)
        return -ENOMEM;
    snprintf(volumes->names[volumes->count++], BLX_NAME_BYTES, "%s", name);
    return 0;
}

static int clear_objects(struct retaining *retaining, struct blx_error *err)
{
    char folder[BLX_COPIED_KEY_BYTES];
    struct volumes volumes = {0};
    snprintf(folder, sizeof(folder), "agents/%.64s/volumes/", retaining->own_id);
    int rc =
        object_depot_list_folders(retaining->request->depot, folder, take_volume, &volumes, err);
    for (size_t i = 0; rc == 0 && i < volumes.count; i++)
        rc = clear_volume(retaining, volumes.names[i], err);
    free(volumes.names);
    return rc;
}

static int retain_history(struct retaining *retaining, const struct object_history *history,
                          struct blx_error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < history->count; i++)
        rc = note_checkpoint(retaining, &history->entries[i], err);
    BLX_CLEANUP_FREE uint32_t *verdicts = calloc(retaining->count + 1, sizeof(verdicts[0]));
    if (rc == 0 && verdicts == NULL)
        rc = no_memory(err);
    if (rc == 0)
        rc = judge(retaining, verdicts, err);
    if (rc == 0)
        rc = remove_checkpoints(retaining, verdicts, err);
    if (rc == 0)
        rc = collect_needed(retaining, err);
    return rc == 0 ? clear_objects(retaining, err) : rc;
}

int object_retain_agent(const struct object_retain_request *request, const char *agent_id,
                        struct object_retain_report *report, struct blx_error *err)
{
    OBJECT_CLEANUP_HISTORY struct object_history history = {0};
    char own_id[BLX_NAME_BYTES];
    struct blx_agent_store agent = blx_store_agent(request->store, agent_id);
    struct retaining retaining = {.request = request, .report = report, .own_id = own_id};
    BLX_CLEANUP(blx_agent_lock_close) struct blx_agent_lock lock = {.fd = -1};
    if (blx_retention_is_none(request->retention))
        return 0;
    int rc = blx_own_id_read(agent, own_id, err);
    if (rc == 0)
        rc = blx_agent_lock_open(agent, &lock, err);
    if (rc == 0)
        rc = blx_agent_lock_alone(&lock, BLX_LOCK_COPIES, COPIES_WAIT_MS, err);
    if (rc == 0)
        rc = object_history_list(request->depot, own_id, &history, err);
    if (rc == 0)
        rc = retain_history(&retaining, &history, err);
    free(retaining.checkpoints);
    free(retaining.needed.all);
    free(retaining.doomed);
    return rc;
}
