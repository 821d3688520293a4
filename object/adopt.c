/* SPDX-License-Identifier: Apache-2.0 */
#include "object/adopt.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "base/text.h"
#include "object/history.h"
#include "store/copy/adoption.h"

enum { AHEAD_LIMIT_S = 24 * 3600 }; /* stores refuse what is 15 minutes off */

/* Of the copies of one checkpoint, the next one that can be read. 1: none is left. */
static int read_next(struct object_depot *depot, const char *agent_id,
                     const struct object_history *history, size_t *at, struct blx_copied *copied,
                     size_t *used, struct object_adopt_report *report, struct blx_error *err)
{
    blx_timestamp timestamp = history->entries[*at].timestamp;
    int result = 1;
    for (; *at < history->count && history->entries[*at].timestamp == timestamp; (*at)++) {
        struct blx_error cause = {0};
        if (result == 0) {
            report->doubles++;
            continue;
        }
        int rc = object_history_read(depot, agent_id, &history->entries[*at], copied, &cause);
        if (rc == 0) {
            result = 0;
            *used = *at;
        } else if (rc == -EBADMSG || rc == -ENOENT) {
            report->unusable++;
            blx_text_set(report->unusable_why, cause.message);
        } else {
            return blx_error_copy(err, rc, &cause);
        }
    }
    return result;
}

/* Named for a time that had not come when the depot got it: somebody else has written it, or the
 * dispatcher's clock was wrong. Whoever wants it says its name. */
static bool is_ahead(const struct object_history_entry *entry)
{
    return entry->written != 0 &&
           blx_timestamp_to_unix(entry->timestamp) > (int64_t)entry->written + AHEAD_LIMIT_S;
}

/* Which one is wanted: 0 for all. */
static int resolve(const struct object_history *history, const char *checkpoint,
                   blx_timestamp *only, struct blx_error *err)
{
    *only = 0;
    if (checkpoint == NULL || history->count == 0)
        return 0;
    if (strcmp(checkpoint, "latest") == 0) {
        for (size_t i = 0; i < history->count; i++)
            if (!is_ahead(&history->entries[i]))
                *only = history->entries[i].timestamp;
        return 0;
    }
    if (blx_timestamp_parse(checkpoint, only, NULL) < 0)
        return blx_error_set(
            err, -EINVAL, "'%.40s' is no checkpoint's name: give 14 digits, or latest", checkpoint);
    return 0;
}

static void pass_over(const struct object_history_entry *entry, struct object_adopt_report *report)
{
    report->unusable++;
    snprintf(report->unusable_why, sizeof(report->unusable_why),
             "%llu is named for a time that had not come when it was written there; "
             "--checkpoint=%llu takes it all the same",
             (unsigned long long)entry->timestamp, (unsigned long long)entry->timestamp);
}

/* Adds the depot's checkpoints of the agent, or only one, to the adoption. */
static int add_checkpoints(struct blx_adoption *adoption, struct object_depot *depot,
                           const char *agent_id, const char *checkpoint,
                           const struct object_adopt_ways *ways, struct object_adopt_report *report,
                           struct blx_error *err)
{
    OBJECT_CLEANUP_HISTORY struct object_history history = {0};
    blx_timestamp only = 0;
    int rc = object_history_list(depot, agent_id, &history, err);
    if (rc == 0)
        rc = resolve(&history, checkpoint, &only, err);
    for (size_t at = 0; rc == 0 && at < history.count;) {
        BLX_CLEANUP_COPIED struct blx_copied copied = {0};
        size_t used = at;
        if (only != 0 && history.entries[at].timestamp != only) {
            at++;
            continue;
        }
        if (only == 0 && is_ahead(&history.entries[at])) {
            pass_over(&history.entries[at++], report);
            continue;
        }
        rc = read_next(depot, agent_id, &history, &at, &copied, &used, report, err);
        if (rc == 0 && ways->note != NULL)
            rc = ways->note(ways->arg, &copied, err);
        if (rc == 0)
            rc = blx_adoption_add(adoption, &copied, history.entries[used].hash, err);
        if (rc == 0)
            report->checkpoints++;
        rc = rc == 1 ? 0 : rc;
    }
    if (rc == 0 && report->checkpoints == 0)
        rc = report->unusable > 0
                 ? blx_error_set(err, -EBADMSG,
                                 "no checkpoint of the agent '%s' in '%s' can be "
                                 "used; %s",
                                 agent_id, object_depot_name(depot), report->unusable_why)
                 : blx_error_set(err, -ENOENT, "'%s' has no checkpoint%s%.20s of the agent '%s'",
                                 object_depot_name(depot), checkpoint != NULL ? " " : "",
                                 checkpoint != NULL ? checkpoint : "", agent_id);
    return rc;
}

/* Whether the file is that object: 1, 0, or -errno. */
static int is_object(const char *path, const struct blx_copied_object *object,
                     struct blx_error *err)
{
    struct stat st;
    uint8_t hash[OBJECT_HASH_BYTES];
    struct blx_error cause = {0};
    BLX_CLEANUP_FD int fd = blx_open(path, O_RDONLY | O_NOFOLLOW, 0, &cause);
    if (fd == -ENOENT)
        return 0;
    if (fd < 0)
        return blx_error_copy(err, fd, &cause);
    if (fstat(fd, &st) != 0 || (uint64_t)st.st_size != object->bytes)
        return 0;
    int rc = object_hash_file(fd, object->bytes, hash, err);
    return rc < 0 ? rc : memcmp(hash, object->hash, sizeof(hash)) == 0;
}

int object_adopt_file(struct object_depot *depot, const char *key,
                      const struct blx_copied_object *object, const char *path,
                      struct blx_error *err)
{
    char temporary[PATH_MAX];
    int rc = is_object(path, object, err);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    rc = blx_path_format(temporary, sizeof(temporary), err, "%s.part", path);
    if (rc < 0)
        return rc;
    BLX_CLEANUP_FD int fd = blx_open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600, err);
    if (fd < 0)
        return fd;
    rc = object_depot_fetch(depot, key, object->hash, object->bytes, fd, err);
    if (rc == 0 && blx_sys->fsync(fd) != 0)
        rc = blx_error_errno(err, -errno, "cannot flush '%s'", temporary);
    if (rc == 0 && blx_sys->rename(temporary, path) != 0)
        rc = blx_error_errno(err, -errno, "cannot rename '%s' to '%s'", temporary, path);
    if (rc < 0)
        blx_sys->unlink(temporary);
    return rc < 0 ? rc : 1;
}

struct adopting {
    struct object_depot *depot;
    const char *agent_id;
    struct object_adopt_report *report;
};

static int fetch(void *arg, const char *volume, uint32_t number,
                 const struct blx_copied_object *object, const char *path, struct blx_error *err)
{
    const struct adopting *adopting = arg;
    char key[BLX_COPIED_KEY_BYTES];
    blx_copied_segment_key(key, adopting->agent_id, volume, number, object);
    int rc = object_adopt_file(adopting->depot, key, object, path, err);
    if (rc == 1)
        adopting->report->fetched_bytes += object->bytes;
    return rc < 0 ? rc : 0;
}

int object_adopt_with(const struct blx_store *store, struct object_depot *depot,
                      const char *agent_id, const char *checkpoint,
                      const struct object_adopt_ways *ways, struct object_adopt_report *report,
                      struct blx_error *err)
{
    struct blx_adoption *adoption = NULL;
    int rc = blx_adoption_open(store, agent_id, ways->how, &adoption, err);
    if (rc == 0)
        rc = add_checkpoints(adoption, depot, agent_id, checkpoint, ways, report, err);
    if (rc == 0 && ways->ready != NULL)
        rc = ways->ready(ways->arg, err);
    if (rc == 0 && ways->fetch != NULL)
        rc = blx_adoption_fill(adoption, ways->fetch, ways->arg, err);
    if (rc == 0) {
        blx_adoption_count(adoption, &report->objects, &report->bytes);
        rc = blx_adoption_finish(adoption, ways->place, err);
    }
    blx_adoption_close(adoption);
    return rc;
}

int object_adopt_agent(const struct blx_store *store, struct object_depot *depot,
                       const char *agent_id, const char *checkpoint,
                       struct object_adopt_report *report, struct blx_error *err)
{
    struct adopting adopting = {.depot = depot, .agent_id = agent_id, .report = report};
    const struct object_adopt_ways ways = {.how = BLX_ADOPTION_KEPT,
                                           .fetch = fetch,
                                           .arg = &adopting,
                                           .place = object_depot_name(depot)};
    return object_adopt_with(store, depot, agent_id, checkpoint, &ways, report, err);
}
