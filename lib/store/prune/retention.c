/* SPDX-License-Identifier: Apache-2.0 */
#include "store/prune/retention.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "store/checkpoint/manifest_file.h"
#include "store/checkpoint/pin.h"

bool blx_retention_is_none(const struct blx_retention *retention)
{
    for (size_t rule = 0; rule < BLX_KEEP_RULES; rule++)
        if (retention->keep[rule] > 0)
            return false;
    return true;
}

const char *blx_retention_name(unsigned reason)
{
    static const char *const names[BLX_KEEP_REASONS] = {
        [BLX_KEEP_LAST] = "keep-last",       [BLX_KEEP_HOURLY] = "keep-hourly",
        [BLX_KEEP_DAILY] = "keep-daily",     [BLX_KEEP_WEEKLY] = "keep-weekly",
        [BLX_KEEP_MONTHLY] = "keep-monthly", [BLX_KEEP_YEARLY] = "keep-yearly",
        [BLX_KEEP_NEWEST] = "newest",        [BLX_KEEP_PINNED] = "pinned",
    };
    return reason < BLX_KEEP_REASONS ? names[reason] : "?";
}

/* Counts from a Monday: 1970 began on a Thursday. */
static uint64_t week_of(blx_timestamp timestamp)
{
    return ((uint64_t)blx_timestamp_to_unix(timestamp) / 86400 + 3) / 7;
}

/* A number that all instants of one period share, and no others. The digits of a timestamp that are
 * cut off leave its hour, day, month or year. */
static uint64_t period_of(enum blx_retention_rule rule, blx_timestamp timestamp)
{
    switch (rule) {
    case BLX_KEEP_HOURLY:
        return timestamp / 10000;
    case BLX_KEEP_DAILY:
        return timestamp / 1000000;
    case BLX_KEEP_WEEKLY:
        return week_of(timestamp);
    case BLX_KEEP_MONTHLY:
        return timestamp / 100000000;
    case BLX_KEEP_YEARLY:
        return timestamp / 10000000000;
    default:
        return timestamp; /* which no other checkpoint of the agent has */
    }
}

void blx_retention_judge(const struct blx_retention *retention, const blx_timestamp *timestamps,
                         size_t count, uint32_t *verdicts)
{
    memset(verdicts, 0, count * sizeof(verdicts[0]));
    for (unsigned rule = 0; rule < BLX_KEEP_RULES; rule++) {
        uint64_t left = retention->keep[rule], last = 0;
        for (size_t i = count; i > 0 && left > 0; i--) {
            uint64_t period = period_of(rule, timestamps[i - 1]);
            if (i < count && period == last)
                continue;
            last = period;
            left--;
            verdicts[i - 1] |= blx_retention_bit(rule);
        }
    }
}

void blx_retention_plan_done(struct blx_retention_plan *plan)
{
    free(plan->timestamps);
    free(plan->verdicts);
    free(plan->doomed);
    *plan = (struct blx_retention_plan){0};
}

/* The volumes of the checkpoints looked at so far. */
struct volumes {
    char (*names)[BLX_NAME_BYTES]; /* owned */
    size_t count;
};

static void volumes_done(struct volumes *volumes)
{
    free(volumes->names);
}

/* 1 if the manifest has a volume that no newer checkpoint has. */
static int note_volumes(struct volumes *volumes, const struct blx_manifest *manifest)
{
    int newest = 0;
    for (uint32_t v = 0; v < manifest->volume_count; v++) {
        size_t i = 0;
        while (i < volumes->count && strcmp(volumes->names[i], manifest->volumes[v].name) != 0)
            i++;
        if (i < volumes->count)
            continue;
        if (blx_array_make_room(volumes->names, volumes->count) < 0)
            return -ENOMEM;
        memcpy(volumes->names[volumes->count++], manifest->volumes[v].name, BLX_NAME_BYTES);
        newest = 1;
    }
    return newest;
}

static int no_memory(const char *agent_id, struct blx_error *err)
{
    return blx_error_errno(err, -ENOMEM, "cannot plan what to keep of the agent '%s'", agent_id);
}

/* What stays whatever the rules say. */
static int judge_others(struct blx_agent_store agent, struct blx_retention_plan *plan,
                        struct blx_error *err)
{
    BLX_CLEANUP(volumes_done) struct volumes volumes = {0};
    for (size_t i = plan->count; i > 0; i--) {
        BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
        bool pinned = false;
        int rc = blx_manifest_read(agent, plan->timestamps[i - 1], &manifest, err);
        if (rc == -ENOENT) /* another prune was faster */
            continue;
        if (rc == 0)
            rc = blx_pin_read(agent, plan->timestamps[i - 1], &pinned, err);
        if (rc < 0)
            return rc;
        rc = note_volumes(&volumes, &manifest);
        if (rc < 0)
            return no_memory(agent.id, err);
        plan->verdicts[i - 1] |= rc == 1 ? blx_retention_bit(BLX_KEEP_NEWEST) : 0;
        plan->verdicts[i - 1] |= pinned ? blx_retention_bit(BLX_KEEP_PINNED) : 0;
    }
    return 0;
}

int blx_retention_plan_make(struct blx_agent_store agent, const struct blx_retention *retention,
                            struct blx_retention_plan *plan, struct blx_error *err)
{
    *plan = (struct blx_retention_plan){0};
    int rc = blx_manifest_list(agent, 0, UINT64_MAX, &plan->timestamps, &plan->count, err);
    if (rc < 0)
        return rc;
    plan->verdicts = calloc(plan->count + 1, sizeof(plan->verdicts[0]));
    plan->doomed = calloc(plan->count + 1, sizeof(plan->doomed[0]));
    if (plan->verdicts == NULL || plan->doomed == NULL)
        return no_memory(agent.id, err);
    blx_retention_judge(retention, plan->timestamps, plan->count, plan->verdicts);
    rc = judge_others(agent, plan, err);
    for (size_t i = 0; rc == 0 && i < plan->count; i++)
        if (plan->verdicts[i] == 0)
            plan->doomed[plan->doomed_count++] = plan->timestamps[i];
    return rc;
}
