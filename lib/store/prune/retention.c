/* SPDX-License-Identifier: Apache-2.0 */
#include "store/prune/retention.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "store/checkpoint/manifest_file.h"
#include "store/checkpoint/pin.h"
#include "store/checkpoint/tested.h"
#include "store/prune/newest_private.h"

bool blx_retention_is_none(const struct blx_retention *retention)
{
    for (size_t rule = 0; rule < BLX_KEEP_RULES; rule++)
        if (rule != BLX_KEEP_MIN_AGE && rule != BLX_KEEP_TESTED && retention->keep[rule] > 0)
            return false;
    return true;
}

struct blx_retention blx_retention_with_default(const struct blx_retention *retention)
{
    struct blx_retention rules = *retention;
    if (rules.keep[BLX_KEEP_MIN_AGE] == 0)
        rules.keep[BLX_KEEP_MIN_AGE] = BLX_MIN_AGE_DEFAULT_MS;
    return rules;
}

const char *blx_retention_name(unsigned reason)
{
    static const char *const names[BLX_KEEP_REASONS] = {
        [BLX_KEEP_LAST] = "keep-last",       [BLX_KEEP_HOURLY] = "keep-hourly",
        [BLX_KEEP_DAILY] = "keep-daily",     [BLX_KEEP_WEEKLY] = "keep-weekly",
        [BLX_KEEP_MONTHLY] = "keep-monthly", [BLX_KEEP_YEARLY] = "keep-yearly",
        [BLX_KEEP_WITHIN] = "keep-within",   [BLX_KEEP_MIN_AGE] = "min-age",
        [BLX_KEEP_TESTED] = "keep-tested",   [BLX_KEEP_NEWEST] = "newest",
        [BLX_KEEP_PINNED] = "pinned",
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
        return 0; /* the other rules know no periods */
    }
}

/* Items of one kind, whole or damaged, as one rule looks at them. */
struct look {
    enum blx_retention_rule rule;
    bool damaged;
    const struct blx_retention_item *items;
    size_t count;
    uint32_t *verdicts;
};

static bool was_kept(const struct look *look, size_t above, uint64_t period)
{
    for (size_t i = above; i < look->count; i++)
        if (look->items[i].damaged == look->damaged &&
            (look->verdicts[i] & blx_retention_bit(look->rule)) != 0 &&
            period_of(look->rule, look->items[i].time) == period)
            return true;
    return false;
}

/*
 * Keeps the newest item of each of the last `left` periods, in the order of the chain: of two with
 * one period the later one stays. Periods descend, unless the clock had been set back in between;
 * only then those above are searched.
 */
static void keep_periods(const struct look *look, uint64_t left)
{
    uint64_t lowest = UINT64_MAX;
    for (size_t i = look->count; i > 0 && left > 0; i--) {
        const struct blx_retention_item *item = &look->items[i - 1];
        if (item->damaged != look->damaged)
            continue;
        uint64_t period = look->rule == BLX_KEEP_LAST ? i : period_of(look->rule, item->time);
        if (period == lowest || (period > lowest && was_kept(look, i, period)))
            continue;
        lowest = period < lowest ? period : lowest;
        look->verdicts[i - 1] |= blx_retention_bit(look->rule);
        left--;
    }
}

/* What was cut at most `ms` before `until_s`, or after it. */
static void keep_since(const struct look *look, int64_t until_s, uint64_t ms)
{
    for (size_t i = 0; ms > 0 && i < look->count; i++)
        if (blx_timestamp_to_unix(look->items[i].time) >= until_s - (int64_t)(ms / 1000))
            look->verdicts[i] |= blx_retention_bit(look->rule);
}

static void keep_proven(const struct look *look, uint64_t left)
{
    for (size_t i = look->count; i > 0 && left > 0; i--) {
        if (!look->items[i - 1].proven)
            continue;
        look->verdicts[i - 1] |= blx_retention_bit(BLX_KEEP_TESTED);
        left--;
    }
}

void blx_retention_judge(const struct blx_retention *retention,
                         const struct blx_retention_item *items, size_t count,
                         uint64_t now_realtime_ns, uint32_t *verdicts)
{
    struct look look = {.items = items, .count = count, .verdicts = verdicts};
    if (count == 0)
        return;
    memset(verdicts, 0, count * sizeof(verdicts[0]));
    for (unsigned rule = 0; rule < BLX_KEEP_COUNTED; rule++)
        for (unsigned damaged = 0; damaged < 2; damaged++) {
            look.rule = rule;
            look.damaged = damaged == 1;
            keep_periods(&look, retention->keep[rule]);
        }
    keep_proven(&look, retention->keep[BLX_KEEP_TESTED]);
    look.rule = BLX_KEEP_WITHIN;
    keep_since(&look, blx_timestamp_to_unix(items[count - 1].time), retention->keep[look.rule]);
    look.rule = BLX_KEEP_MIN_AGE;
    keep_since(&look, (int64_t)(now_realtime_ns / 1000000000), retention->keep[look.rule]);
}

void blx_retention_plan_done(struct blx_retention_plan *plan)
{
    free(plan->timestamps);
    free(plan->items);
    free(plan->verdicts);
    free(plan->doomed);
    *plan = (struct blx_retention_plan){0};
}

static void note_newest(void *arg, size_t at)
{
    uint32_t *others = arg;
    others[at] |= blx_retention_bit(BLX_KEEP_NEWEST);
}

static int no_memory(const char *agent_id, struct blx_error *err)
{
    return blx_error_errno(err, -ENOMEM, "cannot plan what to keep of the agent '%s'", agent_id);
}

/* A record that nobody can read proves nothing, and keeps nothing from being pruned. */
static int note_test(struct blx_agent_store agent, struct blx_retention_item *item,
                     blx_timestamp checkpoint, struct blx_error *err)
{
    struct blx_tested tested;
    struct blx_error cause = {0};
    int rc = blx_tested_read(agent, checkpoint, &tested, &cause);
    item->proven = rc == 0 && blx_tested_is_good(&tested);
    return rc == 0 || rc == -ENOENT || rc == -EBADMSG || rc == -ENOTSUP
               ? 0
               : blx_error_copy(err, rc, &cause);
}

/* What the rules look at, and what stays whatever they say. */
static int read_items(struct blx_agent_store agent, uint64_t now_realtime_ns,
                      struct blx_retention_plan *plan, uint32_t *others, struct blx_error *err)
{
    const blx_timestamp now = blx_timestamp_from_unix((int64_t)(now_realtime_ns / BLX_NS_PER_S));
    BLX_CLEANUP(blx_newest_done) struct blx_newest newest = {0};
    for (size_t i = plan->count; i > 0; i--) {
        BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
        bool pinned = false;
        plan->items[i - 1].time = plan->timestamps[i - 1];
        int rc = blx_manifest_read(agent, plan->timestamps[i - 1], &manifest, err);
        if (rc == -ENOENT) /* another prune was faster */
            continue;
        if (rc == 0)
            rc = blx_pin_read(agent, plan->timestamps[i - 1], &pinned, err);
        if (rc == 0)
            rc = note_test(agent, &plan->items[i - 1], plan->timestamps[i - 1], err);
        if (rc < 0)
            return rc;
        /* A time that has not come, as that of a source that lies, takes no place but today's. */
        plan->items[i - 1].time = blx_manifest_time(&manifest);
        if (now_realtime_ns != 0 && plan->items[i - 1].time > now)
            plan->items[i - 1].time = now;
        plan->items[i - 1].damaged = blx_manifest_unreadable_bytes(&manifest) > 0;
        if (blx_newest_note(&newest, i - 1, &manifest) < 0)
            return no_memory(agent.id, err);
        others[i - 1] |= pinned ? blx_retention_bit(BLX_KEEP_PINNED) : 0;
    }
    blx_newest_each(&newest, plan->count, note_newest, others);
    return 0;
}

int blx_retention_plan_make(struct blx_agent_store agent, const struct blx_retention *retention,
                            uint64_t now_realtime_ns, struct blx_retention_plan *plan,
                            struct blx_error *err)
{
    *plan = (struct blx_retention_plan){0};
    int rc = blx_manifest_list(agent, 0, UINT64_MAX, &plan->timestamps, &plan->count, err);
    if (rc < 0)
        return rc;
    plan->items = calloc(plan->count + 1, sizeof(plan->items[0]));
    plan->verdicts = calloc(plan->count + 1, sizeof(plan->verdicts[0]));
    plan->doomed = calloc(plan->count + 1, sizeof(plan->doomed[0]));
    BLX_CLEANUP_FREE uint32_t *others = calloc(plan->count + 1, sizeof(others[0]));
    if (plan->items == NULL || plan->verdicts == NULL || plan->doomed == NULL || others == NULL)
        return no_memory(agent.id, err);
    rc = read_items(agent, now_realtime_ns, plan, others, err);
    if (rc < 0)
        return rc;
    blx_retention_judge(retention, plan->items, plan->count, now_realtime_ns, plan->verdicts);
    for (size_t i = 0; i < plan->count; i++) {
        plan->verdicts[i] |= others[i];
        if (plan->verdicts[i] == 0)
            plan->doomed[plan->doomed_count++] = plan->timestamps[i];
    }
    return 0;
}
