/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which checkpoints to keep. Each rule by itself says which ones it keeps; a checkpoint stays if
 * any rule keeps it. keep-last=N keeps the N newest. keep-hourly=N looks at the last N hours that
 * have a checkpoint, however long ago, and keeps the newest one of each; so do days, ISO weeks,
 * months and years. keep-within=T keeps all that are at most T older than the newest one.
 *
 * Whatever the rules say, these stay: pinned checkpoints; the newest one, upon which the next one
 * builds; the newest one of each volume, which may be all that is left of a disk (for the names
 * that have been known longest: newest_private.h); and those that are younger than min-age, so
 * that an intruder on an agent needs days, in which somebody may notice.
 *
 * keep-tested=N keeps the N newest ones that passed their test (tested.h). It is no rule by itself,
 * because it says nothing about those that nobody tested.
 *
 * Time is the dispatcher's (blx_manifest_time()), in UTC. The agent's clock decides nothing (I13).
 *
 * A checkpoint that lacks what the agent could not read does not use up the place of a whole one:
 * each counted rule counts whole and damaged checkpoints apart. Otherwise a disk that has become
 * unreadable would, after keep-last checkpoints, have cost its last whole one.
 *
 * Threads: no shared state.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/timestamp.h"
#include "store/store.h"

enum blx_retention_rule {
    BLX_KEEP_LAST,
    BLX_KEEP_HOURLY,
    BLX_KEEP_DAILY,
    BLX_KEEP_WEEKLY,
    BLX_KEEP_MONTHLY,
    BLX_KEEP_YEARLY,
    BLX_KEEP_COUNTED, /* the rules above have a number, those below a time */
    BLX_KEEP_WITHIN = BLX_KEEP_COUNTED,
    BLX_KEEP_MIN_AGE,
    BLX_KEEP_TESTED, /* a number again: it came later, and the places are those of the wire */
    BLX_KEEP_RULES,  /* how many rules there are; and reasons that are no rule: */
    BLX_KEEP_NEWEST = BLX_KEEP_RULES,
    BLX_KEEP_PINNED,
    BLX_KEEP_REASONS
};

struct blx_retention {
    /* A number, or milliseconds (blx_retention_unit()); 0: the rule keeps nothing. */
    uint64_t keep[BLX_KEEP_RULES];
};

/* What a configuration that says nothing of min-age means: long enough for a weekend. */
#define BLX_MIN_AGE_DEFAULT_MS (UINT64_C(3) * 24 * 60 * 60 * 1000)

enum blx_retention_unit { BLX_RETENTION_NUMBER, BLX_RETENTION_MS };

static inline enum blx_retention_unit blx_retention_unit(unsigned rule)
{
    return rule == BLX_KEEP_WITHIN || rule == BLX_KEEP_MIN_AGE ? BLX_RETENTION_MS
                                                               : BLX_RETENTION_NUMBER;
}

/* No rule at all: it would keep nothing but the newest, which nobody means. min-age or keep-tested
 * alone is no rule. */
bool blx_retention_is_none(const struct blx_retention *retention);

/* The rules with the default of min-age, unless they have their own. For rules that stand in a
 * configuration: those that a person types now are meant as typed. */
struct blx_retention blx_retention_with_default(const struct blx_retention *retention);

/* "keep-last", ...; "newest", "pinned" */
const char *blx_retention_name(unsigned reason);

/* A reason as a bit of a verdict; a verdict of 0 means that nothing keeps the checkpoint. */
static inline uint32_t blx_retention_bit(unsigned reason)
{
    return UINT32_C(1) << reason;
}

struct blx_retention_item {
    blx_timestamp time; /* when it was cut */
    bool damaged;       /* it lacks what the agent could not read */
    bool proven;        /* it passed a test */
};

/* What the rules say at `now_realtime_ns`: `items` as the chain has them, the oldest first; a
 * verdict for each. Pure. */
void blx_retention_judge(const struct blx_retention *retention,
                         const struct blx_retention_item *items, size_t count,
                         uint64_t now_realtime_ns, uint32_t *verdicts);

struct blx_store;

struct blx_retention_plan {
    blx_timestamp *timestamps;        /* owned; all of the agent, oldest first */
    struct blx_retention_item *items; /* owned; for each */
    uint32_t *verdicts;               /* owned; for each */
    size_t count;
    blx_timestamp *doomed; /* owned; those that nothing keeps, oldest first */
    size_t doomed_count;
};

/*
 * Says which checkpoints blx_prune() is to remove, at `now_realtime_ns`. Reads every manifest;
 * -EBADMSG if one is damaged, -ENOENT for an unknown agent. Free with _done() in any case.
 */
int blx_retention_plan_make(struct blx_agent_store agent, const struct blx_retention *retention,
                            uint64_t now_realtime_ns, struct blx_retention_plan *plan,
                            struct blx_error *err);
void blx_retention_plan_done(struct blx_retention_plan *plan);
