/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which checkpoints to keep. Each rule by itself says which ones it keeps; a checkpoint stays if
 * any rule keeps it. keep-last=N keeps the N newest. keep-hourly=N looks at the last N hours that
 * have a checkpoint, however long ago, and keeps the newest one of each; so do days, ISO weeks,
 * months and years. All times are UTC. Pinned checkpoints stay in any case, and so does the newest
 * one of each volume: the next checkpoint builds upon it, or it is all that is left of a disk.
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
    BLX_KEEP_RULES, /* how many rules there are; and reasons that are no rule: */
    BLX_KEEP_NEWEST = BLX_KEEP_RULES,
    BLX_KEEP_PINNED,
    BLX_KEEP_REASONS
};

struct blx_retention {
    uint64_t keep[BLX_KEEP_RULES]; /* 0: the rule keeps nothing */
};

/* No rule at all: it would keep nothing but the newest, which nobody means. */
bool blx_retention_is_none(const struct blx_retention *retention);

/* "keep-last", ...; "newest", "pinned" */
const char *blx_retention_name(unsigned reason);

/* A reason as a bit of a verdict; a verdict of 0 means that nothing keeps the checkpoint. */
static inline uint32_t blx_retention_bit(unsigned reason)
{
    return UINT32_C(1) << reason;
}

/* A verdict for each of `timestamps`, which ascend. Pure. */
void blx_retention_judge(const struct blx_retention *retention, const blx_timestamp *timestamps,
                         size_t count, uint32_t *verdicts);

struct blx_store;

struct blx_retention_plan {
    blx_timestamp *timestamps; /* owned; all of the agent, oldest first */
    uint32_t *verdicts;        /* owned; for each */
    size_t count;
    blx_timestamp *doomed; /* owned; those that nothing keeps, oldest first */
    size_t doomed_count;
};

/*
 * Says which checkpoints blx_prune() is to remove. Reads every manifest of the agent; -EBADMSG if
 * one is damaged, -ENOENT for an unknown agent. Free with _done() in any case.
 */
int blx_retention_plan_make(struct blx_agent_store agent, const struct blx_retention *retention,
                            struct blx_retention_plan *plan, struct blx_error *err);
void blx_retention_plan_done(struct blx_retention_plan *plan);
