/*
 * Freezing all filesystems of an agent together, with a guard that thaws them whatever happens (I6).
 *
 * The guard is a small process, forked once at the agent's start before it has threads, memory-locked, in its own session, oom_score_adj
 * -1000. Before each freeze it receives the filesystems' descriptors over a socket; shared memory says per filesystem: idle, attempt (FIFREEZE may be running),
 * frozen, not ours (EBUSY: somebody else froze it). It thaws everything in attempt or frozen when the limit, counted from the
 * first filesystem frozen, has passed, or when the agent's end of the socket closes (the agent died: then nobody can be inside FIFREEZE any more), and tells so
 * through `fired`, which it sets before it thaws: so "not fired" read after the last read of the device proves that all of it was read frozen. At the limit it goes on thawing
 * every 10 ms what may still freeze late, until the agent disarms it.
 *
 * A stopped agent (SIGSTOP) is thawed as a dead one is, at the limit.
 *
 * Threads: start before threads; the rest from one thread. No function here allocates, logs or opens between freeze and thaw.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/mounts.h"
#include "base/error.h"

enum { BLX_FREEZE_MAX_FILESYSTEMS = 64 };

struct blx_freezer;

/* Forks the guard. */
int blx_freezer_start(struct blx_freezer **freezer, struct blx_error *err);

/* Ends the guard and waits for it; thaws what is still frozen. NULL is allowed. */
void blx_freezer_stop(struct blx_freezer *freezer);

struct blx_freeze_result {
    size_t frozen;      /* by us */
    size_t unsupported; /* filesystems that have no freeze (vfat) */
    size_t foreign;     /* frozen by somebody else already */
    uint64_t frozen_at_ns; /* CLOCK_MONOTONIC when all were frozen */
    uint64_t first_frozen_at_ns;
    char not_frozen[128];  /* the first mount point that was not frozen by us, and empty where all were */
};

/*
 * Arms the guard and freezes in reverse mount order. 0 also where some could not be frozen (see `result`); -ETIMEDOUT where the limit
 * passed meanwhile, then everything is thawed; -EPIPE where the guard is gone: nothing was frozen (a new one is started at the next call... by
 * blx_freezer_stop/start of the caller at a time without threads is impossible, so the guard is never allowed to exit while the agent lives).
 */
int blx_freeze(struct blx_freezer *freezer, const struct blx_mounts *mounts, uint64_t limit_ms,
               struct blx_freeze_result *result, struct blx_error *err);

/* Whether the guard has thawed because of the limit. To be read after the last read of the devices, before blx_thaw(). */
bool blx_freeze_expired(const struct blx_freezer *freezer);

/* Thaws in mount order and disarms the guard. The time from the first frozen to the last thawed goes to `held_ns`. */
int blx_thaw(struct blx_freezer *freezer, uint64_t *held_ns, struct blx_error *err);
