/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Freezing all filesystems of an agent together, with a guard that thaws them whatever happens
 * (I6).
 *
 * The guard is a small process, forked at the agent's start, memory-locked, in its own session,
 * oom_score_adj -1000 (each if it is permitted). Before each freeze it receives the filesystems'
 * descriptors over a socket; shared memory says per filesystem: idle, attempt (FIFREEZE may be
 * running), frozen, foreign (EBUSY: somebody else froze it). It thaws everything in attempt or
 * frozen when the limit, counted from the first filesystem frozen, has passed, or when the agent's
 * end of the socket closes (the agent died: then nobody can be inside FIFREEZE any more), and tells
 * so through `fired`, which it sets before it thaws: so "not fired" read after the last read of the
 * device proves that all of it was read frozen. At the limit it goes on thawing every 10 ms what
 * may still freeze late, until the agent disarms it.
 *
 * A stopped agent (SIGSTOP) is thawed as a dead one is, at the limit. Until the first filesystem is
 * frozen the limit counts from the start of its FIFREEZE, so that one that hangs, or an agent that
 * is stopped inside it, has an end as well. A FIFREEZE cannot be called off: one that hangs longer
 * is left to the process that runs it (disk/patience.h), and is thawed the moment it is through.
 * The others are thawed without it. The guard may wait for it, too, and is replaced then.
 *
 * One thing cannot be told apart: an agent that dies or is stopped after somebody else's freeze of
 * the same filesystem made its FIFREEZE fail, but before it could say so. The guard thaws then.
 *
 * Whatever kills the agent ought to leave the guard alone. If both are killed in the middle of a
 * freeze the next agent thaws what they have left: a record on the run directory, which is a tmpfs,
 * names what is about to be frozen.
 *
 * Freezing is parallel, as each FIFREEZE waits 24 to 44 ms for the kernel's RCU: first the
 * filesystems that lie in files of others, the deepest first, then those that carry them.
 *
 * Threads: all from one thread at a time; start and stop also while other threads run (the guard
 * uses async-signal-safe calls only). Nothing between freeze and thaw allocates or opens.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/disk/mounts.h"
#include "base/error.h"

/* More are not frozen, which the result says. */
enum { AGENT_FREEZE_MAX_FILESYSTEMS = 4096 };

struct agent_freezer;

/*
 * Thaws what an agent with the same run directory was killed over, together with its guard. Logs
 * each filesystem. Records of agents that live are left alone.
 */
void agent_freeze_recover(const char *run_dir);

/* Forks the guard and waits until it is ready. -EPIPE if it does not get that far. The record is
 * kept in `run_dir`; NULL: there is none. */
int agent_freezer_start(const char *run_dir, struct agent_freezer **freezer, struct blx_error *err);

/* Ends the guard, which thaws what is still frozen, and waits for it; not for one that waits for a
 * filesystem that hangs. NULL is allowed. */
void agent_freezer_stop(struct agent_freezer *freezer);

struct agent_freeze_result {
    size_t frozen;               /* by us */
    size_t unsupported;          /* filesystems that have no freeze (vfat), or refuse it */
    size_t foreign;              /* frozen by somebody else already */
    uint64_t frozen_at_ns;       /* CLOCK_MONOTONIC when all were frozen */
    uint64_t first_frozen_at_ns; /* 0: none was */
    char not_frozen[128]; /* the first mount point that we did not freeze; empty if there is none */
    char cause[80]; /* the rest of a sentence that begins with it: "could not be frozen: ..." */
};

/*
 * Arms the guard and freezes. 0 also if some could not be frozen (see `result`), or if there are
 * none. On an error nothing is left frozen, and agent_thaw() need not be called: -ETIMEDOUT the
 * limit passed meanwhile, or a FIFREEZE hangs.
 * -EPERM no CAP_SYS_ADMIN. -EPIPE the guard is gone (killed) or does not answer. Nothing was
 * frozen; the caller gets a new guard by agent_freezer_stop() and _start().
 */
int agent_freeze(struct agent_freezer *freezer, const struct agent_mounts *mounts,
                 uint64_t limit_ms, struct agent_freeze_result *result, struct blx_error *err);

/* Whether the mount with this index is frozen by us at this moment. */
bool agent_freeze_holds(const struct agent_freezer *freezer, size_t index);

/* Whether the guard has thawed because of the limit. To be read after the last read of the devices,
 * before agent_thaw(). */
bool agent_freeze_expired(const struct agent_freezer *freezer);

/*
 * Thaws in mount order and disarms the guard. The time from the first frozen to the last thawed
 * goes to `held_ns` (also on an error). -ECANCELED if somebody else had thawed one meanwhile: it
 * was not frozen all the time while it was read. Another error: a filesystem refuses to thaw; the
 * guard stays armed and goes on trying.
 */
int agent_thaw(struct agent_freezer *freezer, uint64_t *held_ns, struct blx_error *err);
