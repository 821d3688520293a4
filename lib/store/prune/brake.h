/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The brake on pruning by rules. Rules that stand in a configuration are carried out when nobody
 * looks, so they stop before they remove far more than they usually do: after a clock that leapt, a
 * flood of checkpoints, or a rule with a digit too few. A person then looks, and confirms.
 *
 *     no mark, or other rules, and something goes  ->  announced: nothing is removed for a while
 *     announced, and the while is over             ->  free, whatever it removes; then marked
 *     marked, and as much as is usual goes         ->  free; marked again
 *     marked, and far more goes                    ->  held, until `blxrep prune --confirm`
 *
 * Usual is what the checkpoints that sync-freq explains since the last prune would push out, and at
 * most half of all. DIR/agents/ID/pruned is the mark: which rules hold, and when they were carried
 * out last. It is a hint, not a truth: if it is lost or damaged the rules count as new.
 *
 * Threads: no shared state. Reading and writing wait for the disk; judging is pure.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "store/prune/retention.h"
#include "store/store.h"

/* So few are never held back, and never announced if the rules are the old ones. */
enum { BLX_BRAKE_FLOOR = 16 };

struct blx_prune_mark {
    uint64_t rules;         /* blx_brake_rules() */
    uint64_t pruned_ns;     /* when they were carried out last, since 1970 */
    uint64_t not_before_ns; /* 0: they were carried out; otherwise they are announced until then */
};

enum blx_brake {
    BLX_BRAKE_FREE,      /* prune, then write `mark` */
    BLX_BRAKE_ANNOUNCED, /* write `mark`, and prune nothing before mark->not_before_ns */
    BLX_BRAKE_HELD,      /* prune nothing until somebody confirms */
};

/* What an agent's prune looks like. */
struct blx_brake_case {
    const struct blx_retention *retention;
    size_t checkpoints, doomed;
    uint64_t sync_freq_ms; /* 0: not known, so no number of checkpoints is too large for it */
    uint64_t now_ns;       /* since 1970 */
    uint64_t grace_ns;     /* how long new rules are announced */
};

/* A number that other rules do not have. */
uint64_t blx_brake_rules(const struct blx_retention *retention);

/* `mark` is what was read, all zero if there is none; it becomes what is to be written. */
enum blx_brake blx_brake_judge(const struct blx_brake_case *prune, struct blx_prune_mark *mark);

/* All zero if there is none, or if it is damaged. */
int blx_prune_mark_read(struct blx_agent_store agent, struct blx_prune_mark *mark,
                        struct blx_error *err);
int blx_prune_mark_write(struct blx_agent_store agent, const struct blx_prune_mark *mark,
                         struct blx_error *err);
