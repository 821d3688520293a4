/* SPDX-License-Identifier: Apache-2.0 */
/* Lists the checkpoints of an agent, and finds the one that somebody means. */
#include "store/checkpoint/manifest_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/when.h"
#include "base/array.h"

#include "store/directory_private.h"

enum { LISTED_TIMESTAMPS = 8 };

struct timestamps {
    blx_timestamp first, last;
    blx_timestamp *values;
    size_t count;
};

static int add_timestamp(void *arg, const char *name, struct blx_error *err)
{
    struct timestamps *list = arg;
    blx_timestamp timestamp;
    if (strlen(name) != BLX_TIMESTAMP_DIGITS || blx_timestamp_parse(name, &timestamp, NULL) < 0)
        return 0;
    if (timestamp < list->first || timestamp > list->last)
        return 0;
    if (blx_array_make_room(list->values, list->count) < 0)
        return blx_error_errno(err, -ENOMEM, "cannot list the checkpoints");
    list->values[list->count++] = timestamp;
    return 0;
}

int blx_manifest_list(struct blx_agent_store agent, blx_timestamp first, blx_timestamp last,
                      blx_timestamp **timestamps, size_t *count, struct blx_error *err)
{
    char dir[PATH_MAX];
    struct timestamps list = {.first = first, .last = last};
    int rc = blx_manifest_dir(agent, dir, err);
    if (rc < 0)
        return rc;
    rc = blx_agent_store_check(agent, err);
    if (rc == 0)
        rc = blx_directory_each(dir, add_timestamp, &list, err);
    if (rc < 0) {
        free(list.values);
        return rc;
    }
    if (list.count > 0)
        qsort(list.values, list.count, sizeof(list.values[0]), blx_timestamp_compare);
    *timestamps = list.values;
    *count = list.count;
    return 0;
}

int blx_manifest_latest(struct blx_agent_store agent, blx_timestamp *timestamp,
                        struct blx_error *err)
{
    BLX_CLEANUP_FREE blx_timestamp *all = NULL;
    size_t count;
    int rc = blx_manifest_list(agent, 0, UINT64_MAX, &all, &count, err);
    if (rc < 0)
        return rc;
    *timestamp = count == 0 ? 0 : all[count - 1];
    return 0;
}

static int ambiguous(const char *agent_id, const char *text, const blx_timestamp *found,
                     size_t count, struct blx_error *err)
{
    char list[LISTED_TIMESTAMPS * 17 + 32] = "";
    size_t used = 0;
    for (size_t i = 0; i < count && i < LISTED_TIMESTAMPS; i++)
        used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%llu", i == 0 ? "" : ", ",
                                 (unsigned long long)found[i]);
    if (count > LISTED_TIMESTAMPS)
        snprintf(list + used, sizeof(list) - used, " and %zu more", count - LISTED_TIMESTAMPS);
    return blx_error_set(err, -EINVAL,
                         "'%s' fits %zu checkpoints of the agent '%s': %s; give one whole", text,
                         count, agent_id, list);
}

/* `all` is not empty and has none in question: names the neighbours. */
static int not_found(const char *agent_id, const char *text, const blx_timestamp *all, size_t count,
                     blx_timestamp wanted, struct blx_error *err)
{
    size_t older = 0;
    while (older < count && all[older] < wanted)
        older++;
    char nearest[64];
    if (older > 0 && older < count)
        snprintf(nearest, sizeof(nearest), "%llu and %llu", (unsigned long long)all[older - 1],
                 (unsigned long long)all[older]);
    else
        snprintf(nearest, sizeof(nearest), "%llu",
                 (unsigned long long)all[older > 0 ? older - 1 : 0]);
    return blx_error_set(err, -ENOENT, "the agent '%s' has no checkpoint '%s'; the nearest: %s",
                         agent_id, text, nearest);
}

/* What the disks were at that time is in the newest checkpoint that is not younger. */
static int newest_until(const char *agent_id, const char *text, const blx_timestamp *all,
                        size_t count, blx_timestamp last, blx_timestamp *timestamp,
                        struct blx_error *err)
{
    size_t older = 0;
    while (older < count && all[older] <= last)
        older++;
    if (older == 0)
        return blx_error_set(err, -ENOENT,
                             "the agent '%s' has no checkpoint of '%.40s' or before: the oldest is "
                             "%" PRIu64,
                             agent_id, text, all[0]);
    *timestamp = all[older - 1];
    return 0;
}

int blx_manifest_resolve(struct blx_agent_store agent, const char *text, blx_timestamp *timestamp,
                         struct blx_error *err)
{
    bool latest = strcmp(text, "latest") == 0;
    blx_timestamp first = 0, last = UINT64_MAX;
    int rc = latest ? 0 : blx_when_parse(text, blx_clock_realtime_ns(), &first, &last, err);
    if (rc < 0)
        return rc;
    bool by_name = text[strspn(text, "0123456789")] == '\0';
    BLX_CLEANUP_FREE blx_timestamp *all = NULL;
    size_t count;
    rc = blx_manifest_list(agent, 0, UINT64_MAX, &all, &count, err);
    if (rc < 0)
        return rc;
    if (count == 0)
        return blx_error_set(err, -ENOENT, "the agent '%s' has no checkpoint yet", agent.id);
    if (!latest && !by_name)
        return newest_until(agent.id, text, all, count, last, timestamp, err);
    size_t from = latest ? count - 1 : 0;
    while (from < count && all[from] < first)
        from++;
    size_t fitting = 0;
    while (from + fitting < count && all[from + fitting] <= last)
        fitting++;
    if (fitting == 0)
        return not_found(agent.id, text, all, count, first, err);
    if (fitting > 1)
        return ambiguous(agent.id, text, all + from, fitting, err);
    *timestamp = all[from];
    return 0;
}
