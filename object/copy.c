/* SPDX-License-Identifier: Apache-2.0 */
#include "object/copy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "object/history.h"
#include "store/checkpoint/manifest_file.h"
#include "store/copy/copy_source.h"
#include "store/own_id.h"
#include "store/segment/segment_part.h"

_Static_assert((int)BLX_OBJECT_LOCK_NONE == (int)BLX_COPIED_NOT_LOCKED, "locks");
_Static_assert((int)BLX_OBJECT_LOCK_GOVERNANCE == (int)BLX_COPIED_GOVERNANCE, "locks");
_Static_assert((int)BLX_OBJECT_LOCK_COMPLIANCE == (int)BLX_COPIED_COMPLIANCE, "locks");

/* Objects are locked for a quarter longer than checkpoints, and for a day at least. */
enum { LOCK_MORE = 4, LOCK_MORE_LEAST_S = 24 * 3600 };

/* A copy of one checkpoint. */
struct copying {
    const struct object_copy_request *request;
    struct object_copy_report *report;
    const char *agent_id; /* its name in the store */
    const char *own_id;   /* by which it is known elsewhere: a renaming does not change it */
    const struct object_history_entry *last; /* the newest that the depot has of this store */
    struct blx_copy_source *source;
    struct blx_copied made;   /* what it becomes */
    struct blx_copied before; /* a checkpoint that the depot has */
    blx_timestamp before_is;  /* 0: none was read */
    int64_t now_s;
};

/* An object of the entry that is being copied. */
struct sent {
    uint32_t number;
    struct blx_copied_object object;
};

/* An entry on the way. */
struct entry_copy {
    struct copying *copying;
    const char *volume;
    struct sent *sent; /* owned; the newest first */
    size_t count;
};

static int no_memory(struct blx_error *err)
{
    return blx_error_errno(err, -ENOMEM, "cannot copy the checkpoint");
}

static struct blx_agent_store agent_of(const struct copying *copying)
{
    return blx_store_agent(copying->request->store, copying->agent_id);
}

static bool locks(const struct copying *copying)
{
    return copying->request->lock != BLX_OBJECT_LOCK_NONE;
}

/* Until when the checkpoint is to be locked. */
static int64_t checkpoint_until(const struct copying *copying)
{
    return copying->now_s + (int64_t)(copying->request->lock_ms / 1000);
}

static struct object_lock object_lock(const struct copying *copying)
{
    int64_t lock_s = (int64_t)(copying->request->lock_ms / 1000), more_s = lock_s / LOCK_MORE;
    if (more_s < LOCK_MORE_LEAST_S)
        more_s = LOCK_MORE_LEAST_S;
    return (struct object_lock){.mode = copying->request->lock,
                                .until = (time_t)(copying->now_s + lock_s + more_s)};
}

/* The checkpoint's lock is the weakest of all. */
static void weaken(struct copying *copying, enum blx_copied_lock lock)
{
    if (copying->made.lock > lock)
        copying->made.lock = lock;
}

/* A lock that is refused does not keep the copy from being made: it is told. `has` is what the
 * object has then. */
static int lock_on(struct copying *copying, const char *key, enum blx_copied_lock has,
                   struct blx_copied_object *object, struct blx_error *err)
{
    const struct object_lock lock = object_lock(copying);
    struct blx_error cause = {0};
    int rc = object_depot_set_lock(copying->request->depot, key, &lock, &cause);
    if (rc == -EACCES) {
        blx_text_set(copying->report->refused, cause.message);
        weaken(copying, has);
        return 0;
    }
    if (rc < 0)
        return blx_error_copy(err, rc, &cause);
    object->locked_until_s = (int64_t)lock.until;
    copying->report->relocked++;
    return 0;
}

/* Whoever reads the copy can plan with the tail alone, and check it. */
static int hash_tail(int fd, uint64_t bytes, struct blx_copied_object *object,
                     struct blx_error *err)
{
    int rc = blx_segment_find_tail(fd, bytes, &object->tail_bytes, err);
    return rc < 0 ? rc
                  : object_hash_part(fd, bytes - object->tail_bytes, object->tail_bytes,
                                     object->tail_hash, err);
}

static int send_file(void *arg, uint32_t number, int fd, uint64_t bytes, struct blx_error *err)
{
    struct entry_copy *entry = arg;
    struct copying *copying = entry->copying;
    const struct object_lock lock = object_lock(copying);
    char key[BLX_COPIED_KEY_BYTES];
    if (blx_array_make_room(entry->sent, entry->count) < 0)
        return no_memory(err);
    struct sent *sent = &entry->sent[entry->count++];
    *sent = (struct sent){.number = number, .object = {.bytes = bytes}};
    int rc = object_hash_file(fd, bytes, sent->object.hash, err);
    if (rc < 0)
        return rc;
    rc = hash_tail(fd, bytes, &sent->object, err);
    if (rc < 0)
        return rc;
    blx_copied_segment_key(key, copying->own_id, entry->volume, number, &sent->object);
    rc = object_depot_put_file(copying->request->depot, key, fd, bytes,
                               locks(copying) ? &lock : NULL, err);
    if (rc < 0)
        return rc;
    if (rc == 1) {
        copying->report->spared_bytes += bytes;
        return locks(copying) ? lock_on(copying, key, BLX_COPIED_NOT_LOCKED, &sent->object, err)
                              : 0;
    }
    sent->object.locked_until_s = locks(copying) ? (int64_t)lock.until : 0;
    copying->report->objects++;
    copying->report->bytes += bytes;
    return 0;
}

/* Has that checkpoint in `before`; 1, or 0 if the depot does not have it any more. */
static int read_before(struct copying *copying, const struct object_history_entry *wanted,
                       struct blx_error *err)
{
    struct blx_error cause = {0};
    if (copying->before_is == wanted->timestamp)
        return 1;
    blx_copied_done(&copying->before);
    copying->before_is = 0;
    int rc = object_history_read(copying->request->depot, copying->own_id, wanted, &copying->before,
                                 &cause);
    if (rc == -ENOENT || rc == -EBADMSG)
        return 0;
    if (rc < 0)
        return blx_error_copy(err, rc, &cause);
    copying->before_is = wanted->timestamp;
    return 1;
}

/* Whether two manifests are of the same checkpoint. */
static bool is_same_cut(const struct blx_manifest *a, const struct blx_manifest *b)
{
    return a->committed_realtime_ns == b->committed_realtime_ns &&
           a->agent_realtime_ns == b->agent_realtime_ns;
}

/* The same, as far as this volume goes. */
static bool is_same(const struct blx_manifest *a, const struct blx_manifest *b, const char *volume)
{
    const struct blx_manifest_volume *x = blx_manifest_find(a, volume);
    const struct blx_manifest_volume *y = blx_manifest_find(b, volume);
    return is_same_cut(a, b) && x != NULL && y != NULL &&
           memcmp(&x->generation, &y->generation, sizeof(x->generation)) == 0 &&
           x->last_seq == y->last_seq;
}

/* Without a mark: the depot's newest checkpoint, if this store has it still. 1: `next` is set. */
static int find_unmarked(struct copying *copying, const char *volume, uint32_t *next,
                         struct blx_error *err)
{
    BLX_CLEANUP_MANIFEST struct blx_manifest ours = {0};
    const struct object_history_entry *newest = copying->last;
    if (newest == NULL)
        return 0;
    if (blx_manifest_read(agent_of(copying), newest->timestamp, &ours, NULL) < 0)
        return 0;
    int rc = read_before(copying, newest, err);
    if (rc != 1 || !is_same(&ours, &copying->before.manifest, volume))
        return rc < 0 ? rc : 0;
    *next = blx_manifest_find(&ours, volume)->next_segment;
    return 1;
}

/* 1 if `before` is a checkpoint of the depot in which all segments of this store below `next` are;
 * 0 if there is none. */
static int find_before(struct copying *copying, const char *volume, uint32_t *next,
                       struct blx_error *err)
{
    struct blx_copy_mark mark;
    int rc = blx_copy_mark_read(agent_of(copying), volume,
                                object_depot_name(copying->request->depot), &mark, err);
    if (rc < 0)
        return rc;
    if (rc == 0)
        return find_unmarked(copying, volume, next, err);
    struct object_history_entry wanted = {.timestamp = mark.timestamp};
    memcpy(wanted.hash, mark.hash, sizeof(wanted.hash));
    *next = mark.next;
    return read_before(copying, &wanted, err);
}

/* Which of an entry's objects the depot still lists. */
struct presence {
    const struct blx_manifest_volume *entry;
    const struct blx_copied_object *objects;
    size_t found;
};

static int note_present(void *arg, const char *name, time_t written)
{
    (void)written;
    struct presence *presence = arg;
    char hash[BLX_COPIED_HASH_TEXT], expected[BLX_COPIED_HASH_TEXT + 16];
    char *end = NULL;
    unsigned long number = strtoul(name, &end, 10);
    uint32_t low = 0, high = presence->entry->segment_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (presence->entry->segments[middle] < number)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == presence->entry->segment_count || presence->entry->segments[low] != number)
        return 0;
    blx_copied_hash_text(presence->objects[low].hash, hash);
    snprintf(expected, sizeof(expected), "-%s.seg", hash);
    presence->found += strcmp(end, expected) == 0;
    return 0;
}

/* 1 if nobody has removed any of the objects. */
static int are_present(struct copying *copying, const struct blx_manifest_volume *entry,
                       struct blx_error *err)
{
    char folder[BLX_COPIED_KEY_BYTES];
    struct presence presence = {.entry = entry, .objects = blx_copied_of(&copying->before, entry)};
    snprintf(folder, sizeof(folder), "agents/%.64s/volumes/%.64s/", copying->own_id, entry->name);
    int rc = object_depot_list(copying->request->depot, folder, note_present, &presence, err);
    return rc < 0 ? rc : presence.found == entry->segment_count;
}

/* The list of the depot's checkpoint goes on in the new one, as far as it may: its objects are
 * added to `made`. `from` is the first segment that is not in them. */
static int take_kept(struct copying *copying, uint32_t number, struct blx_manifest_volume *entry,
                     uint32_t *from, struct blx_error *err)
{
    uint32_t next = 0;
    size_t keep = 0;
    *from = 0;
    int rc = find_before(copying, entry->name, &next, err);
    const struct blx_manifest_volume *before =
        rc == 1 ? blx_manifest_find(&copying->before.manifest, entry->name) : NULL;
    if (before != NULL)
        rc = are_present(copying, before, err);
    if (rc != 1 || before == NULL)
        return rc < 0 ? rc : 0;
    struct blx_copied_object *objects = blx_copied_of(&copying->before, before);
    const struct blx_copy_before known = {.numbers = before->segments,
                                          .objects = objects,
                                          .count = before->segment_count,
                                          .next = next};
    rc = blx_copy_source_keep(copying->source, number, &known, &keep, from, err);
    for (size_t i = 0; rc == 0 && i < keep; i++) {
        char key[BLX_COPIED_KEY_BYTES];
        struct blx_copied_object object = objects[i];
        blx_copied_segment_key(key, copying->own_id, entry->name, before->segments[i], &object);
        if (locks(copying) && (object.locked_until_s < checkpoint_until(copying) ||
                               (int)copying->before.lock < (int)copying->request->lock))
            rc = lock_on(copying, key,
                         object.locked_until_s > 0 ? copying->before.lock : BLX_COPIED_NOT_LOCKED,
                         &object, err);
        if (blx_array_make_room(copying->made.objects, copying->made.object_count) < 0)
            return no_memory(err);
        copying->made.objects[copying->made.object_count++] = object;
    }
    if (rc < 0)
        return rc;
    free(entry->segments);
    entry->segments = calloc(keep + 1, sizeof(entry->segments[0]));
    if (entry->segments == NULL)
        return no_memory(err);
    memcpy(entry->segments, before->segments, keep * sizeof(entry->segments[0]));
    entry->segment_count = (uint32_t)keep;
    return 0;
}

/* The new objects after the kept ones, the oldest first. */
static int add_sent(struct copying *copying, const struct entry_copy *sent,
                    struct blx_manifest_volume *entry, struct blx_error *err)
{
    size_t count = entry->segment_count + sent->count;
    uint32_t *numbers = reallocarray(entry->segments, count + 1, sizeof(numbers[0]));
    if (numbers == NULL)
        return no_memory(err);
    entry->segments = numbers;
    for (size_t i = sent->count; i > 0; i--) {
        if (blx_array_make_room(copying->made.objects, copying->made.object_count) < 0)
            return no_memory(err);
        copying->made.objects[copying->made.object_count++] = sent->sent[i - 1].object;
        numbers[entry->segment_count++] = sent->sent[i - 1].number;
    }
    return 0;
}

static int copy_entry(struct copying *copying, uint32_t number, struct blx_error *err)
{
    struct blx_manifest_volume *entry = &copying->made.manifest.volumes[number];
    struct entry_copy sent = {.copying = copying, .volume = entry->name};
    uint32_t from = 0;
    entry->segment_count = 0;
    entry->base = true;
    entry->clearing = false;
    int rc = take_kept(copying, number, entry, &from, err);
    if (rc == 0 && entry->segment_count == 0)
        copying->report->whole++;
    if (rc == 0)
        rc = blx_copy_source_each(copying->source, number, from, send_file, &sent, err);
    if (rc == 0)
        rc = add_sent(copying, &sent, entry, err);
    free(sent.sent);
    return rc;
}

/* The checkpoint's own object, when everything that it names is there. */
static int send_checkpoint(struct copying *copying, uint8_t hash[BLX_COPIED_HASH_BYTES],
                           struct blx_error *err)
{
    BLX_CLEANUP_FREE void *content = NULL;
    size_t bytes = 0;
    char key[BLX_COPIED_KEY_BYTES];
    struct object_digest digest;
    const struct object_lock lock = {.mode = copying->request->lock,
                                     .until = (time_t)checkpoint_until(copying)};
    int rc = blx_copied_encode(&copying->made, &content, &bytes, err);
    if (rc < 0)
        return rc;
    rc = object_digest_begin(&digest, OBJECT_DIGEST_PLAIN, err);
    if (rc == 0)
        object_digest_add(&digest, content, bytes);
    object_digest_end(&digest, hash, NULL);
    if (rc < 0)
        return rc;
    blx_copied_checkpoint_key(key, copying->own_id, copying->made.manifest.timestamp, hash);
    rc = object_depot_put(copying->request->depot, key, content, bytes,
                          locks(copying) ? &lock : NULL, err);
    return rc < 0 ? rc : 0;
}

static int mark_entries(const struct copying *copying, const uint8_t hash[BLX_COPIED_HASH_BYTES],
                        struct blx_error *err)
{
    const struct blx_manifest *manifest = &copying->made.manifest;
    struct blx_copy_mark mark = {.timestamp = manifest->timestamp};
    int rc = 0;
    memcpy(mark.hash, hash, sizeof(mark.hash));
    for (uint32_t i = 0; rc == 0 && i < blx_manifest_count_entries(manifest); i++) {
        mark.next = manifest->volumes[i].next_segment;
        rc = blx_copy_mark_write(agent_of(copying), manifest->volumes[i].name,
                                 object_depot_name(copying->request->depot), &mark, err);
    }
    return rc;
}

static void note_lock(const struct copying *copying)
{
    int64_t until = locks(copying) ? checkpoint_until(copying) : 0;
    for (size_t i = 0; i < copying->made.object_count; i++) {
        if (copying->made.objects[i].locked_until_s < until)
            until = copying->made.objects[i].locked_until_s;
    }
    copying->report->locked_until_s = until;
    copying->report->lock = copying->made.lock;
}

static int copy_held(struct copying *copying, struct blx_error *err)
{
    uint8_t hash[BLX_COPIED_HASH_BYTES];
    int rc =
        blx_manifest_copy(blx_copy_source_manifest(copying->source), &copying->made.manifest, err);
    if (rc < 0)
        return rc;
    copying->made.manifest.parent = 0;
    copying->made.copied_realtime_ns = blx_clock_realtime_ns();
    copying->made.lock = (enum blx_copied_lock)copying->request->lock;
    for (uint32_t i = 0; rc == 0 && i < blx_manifest_count_entries(&copying->made.manifest); i++)
        rc = copy_entry(copying, i, err);
    if (rc == 0)
        rc = send_checkpoint(copying, hash, err);
    if (rc < 0)
        return rc;
    copying->report->checkpoints++;
    copying->report->newest = copying->made.manifest.timestamp;
    note_lock(copying);
    return mark_entries(copying, hash, err);
}

/* 1: it was removed meanwhile. */
static int copy_checkpoint(const struct copying *of_agent, blx_timestamp timestamp,
                           struct blx_error *err)
{
    struct copying copying = *of_agent;
    struct blx_error cause = {0};
    copying.now_s = (int64_t)time(NULL);
    int rc = blx_copy_source_open(agent_of(&copying), timestamp, &copying.source, &cause);
    if (rc == -ENOENT)
        return 1;
    if (rc == 0)
        rc = copy_held(&copying, &cause);
    blx_copy_source_close(copying.source);
    blx_copied_done(&copying.made);
    blx_copied_done(&copying.before);
    if (rc < 0) {
        blx_error_copy(err, rc, &cause);
        blx_error_prefix(err, "the agent '%s', checkpoint %llu", copying.agent_id,
                         (unsigned long long)timestamp);
    }
    return rc;
}

/* An agent's checkpoints here and there. */
struct comparison {
    struct copying copying; /* of no checkpoint */
    const struct object_history *history;
    blx_timestamp *ours; /* owned; ascending */
    size_t count;
};

static bool has_ours(const struct comparison *comparison, blx_timestamp timestamp)
{
    return comparison->count > 0 && bsearch(&timestamp, comparison->ours, comparison->count,
                                            sizeof(timestamp), blx_timestamp_compare) != NULL;
}

/* Up to which checkpoint of the depot this store is known to have copied: what its marks name. 0:
 * it has none. */
static int find_marked(const struct comparison *comparison, blx_timestamp *newest,
                       struct blx_error *err)
{
    const struct copying *copying = &comparison->copying;
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
    int rc = 0;
    *newest = 0;
    if (comparison->count == 0)
        return 0;
    rc = blx_manifest_read(agent_of(copying), comparison->ours[comparison->count - 1], &manifest,
                           err);
    for (uint32_t i = 0; rc >= 0 && i < blx_manifest_count_entries(&manifest); i++) {
        struct blx_copy_mark mark;
        rc = blx_copy_mark_read(agent_of(copying), manifest.volumes[i].name,
                                object_depot_name(copying->request->depot), &mark, err);
        if (rc == 1 && mark.timestamp > *newest)
            *newest = mark.timestamp;
    }
    return rc < 0 ? rc : 0;
}

/* Whether the depot's checkpoint is the one that this store has under that name: 1, 0, -errno. A
 * copy that was killed has left it, and no mark. */
static int is_copy_of_ours(struct comparison *comparison, const struct object_history_entry *entry,
                           struct blx_error *err)
{
    struct copying *copying = &comparison->copying;
    BLX_CLEANUP_MANIFEST struct blx_manifest ours = {0};
    if (!has_ours(comparison, entry->timestamp) ||
        blx_manifest_read(agent_of(copying), entry->timestamp, &ours, NULL) < 0)
        return 0;
    copying->before_is = 0; /* there may be several of that name */
    int rc = read_before(copying, entry, err);
    return rc == 1 ? is_same_cut(&ours, &copying->before.manifest) : rc;
}

/*
 * Finds the newest checkpoint of the depot that is a copy of this store's. Whoever has the
 * credentials can write others, with any name, and so can another state of the data directory:
 * what is newer, and is not known here, is counted and does not count as copied.
 */
static int find_last(struct comparison *comparison, struct blx_error *err)
{
    const struct object_history *history = comparison->history;
    struct object_copy_report *report = comparison->copying.report;
    blx_timestamp marked = 0;
    int rc = find_marked(comparison, &marked, err);
    for (size_t i = history->count; rc == 0 && i > 0; i--) {
        const struct object_history_entry *entry = &history->entries[i - 1];
        rc = entry->timestamp <= marked ? 1 : is_copy_of_ours(comparison, entry, err);
        if (rc == 1)
            comparison->copying.last = entry;
        if (rc != 0)
            break;
        report->strange_count++;
        if (report->strange_newest == 0)
            report->strange_newest = entry->timestamp;
    }
    while (rc == 1 && comparison->copying.last > history->entries &&
           comparison->copying.last[-1].timestamp == comparison->copying.last->timestamp)
        comparison->copying.last--; /* of several the first */
    blx_copied_done(&comparison->copying.before);
    comparison->copying.before_is = 0;
    return rc < 0 ? rc : 0;
}

/* The time from which on the next one's is counted. A clock that was wrong may have given names of
 * the future: the copy's own time then tells, and without it the next one is due. */
static int64_t last_time(const struct copying *copying, blx_timestamp last)
{
    int64_t named_s = blx_timestamp_to_unix(last), copied_s = copying->request->copied_s;
    if (named_s <= (int64_t)time(NULL))
        return named_s;
    return copied_s > 0 && copied_s <= (int64_t)time(NULL) ? copied_s : 0;
}

bool object_copy_is_due(blx_timestamp checkpoint, int64_t last_s, uint64_t every_ms,
                        enum object_copy_age age)
{
    int64_t when_s =
        age == OBJECT_COPY_NEWEST ? (int64_t)time(NULL) : blx_timestamp_to_unix(checkpoint);
    return when_s - last_s >= (int64_t)(every_ms / 1000);
}

static int copy_due(struct comparison *comparison, struct blx_error *err)
{
    const struct copying *copying = &comparison->copying;
    blx_timestamp last = copying->last != NULL ? copying->last->timestamp : 0;
    copying->report->newest = last;
    for (size_t i = 0; i < comparison->count; i++) {
        blx_timestamp ours = comparison->ours[i];
        enum object_copy_age age =
            i + 1 == comparison->count ? OBJECT_COPY_NEWEST : OBJECT_COPY_OLDER;
        int64_t last_s = last == 0 ? 0 : last_time(copying, last);
        if (ours <= last || !object_copy_is_due(ours, last_s, copying->request->every_ms, age))
            continue;
        int rc = copy_checkpoint(copying, ours, err);
        if (rc < 0)
            return rc;
        if (rc == 0)
            last = ours;
    }
    return 0;
}

int object_copy_agent(const struct object_copy_request *request, const char *agent_id,
                      struct object_copy_report *report, struct blx_error *err)
{
    OBJECT_CLEANUP_HISTORY struct object_history history = {0};
    char own_id[BLX_NAME_BYTES];
    struct blx_agent_store agent = blx_store_agent(request->store, agent_id);
    struct comparison comparison = {
        .copying = {.request = request, .report = report, .agent_id = agent_id, .own_id = own_id},
        .history = &history};
    int rc =
        blx_manifest_list(agent, 0, BLX_TIMESTAMP_MAX, &comparison.ours, &comparison.count, err);
    if (rc == 0)
        rc = blx_own_id_read(agent, own_id, err);
    if (rc == 0)
        rc = object_history_list(request->depot, own_id, &history, err);
    if (rc == 0)
        rc = find_last(&comparison, err);
    if (rc == 0)
        rc = copy_due(&comparison, err);
    free(comparison.ours);
    return rc;
}
