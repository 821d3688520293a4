/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removes checkpoints; retention.h says which ones. The successor's manifest takes over the
 * segments of the removed checkpoint, and its base and parent; no data is copied. Segments that
 * nobody needs any more are unlinked, and in the others the dead frames become holes. STORE.md,
 * "Removing checkpoints", says what a crash leaves at each step.
 *
 * In a full store it first gives the reserve free (reserve.h), which it needs to write manifests.
 *
 * Safe beside a running dispatcher, restores and verifications: agent_lock.h. A checkpoint that a
 * restore reads stays, as does a pinned one.
 *
 * Threads: no shared state; one prune per agent at a time, whatever the process (-EBUSY). Blocks on
 * the disk. Memory: the manifests of the agent, what covers a volume (at most a bit for each of its
 * blocks), one index of a segment.
 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>

#include "base/error.h"
#include "base/timestamp.h"
#include "store/prune/prune_report.h"
#include "store/store.h"

/* A volume that no checkpoint has is removed if nobody has touched it for that long: a week. */
enum { BLX_PRUNE_ORPHAN_S = 7 * 24 * 3600 };

struct blx_prune_request {
    const blx_timestamp
        *checkpoints; /* to be removed, ascending; those that are gone do not count */
    size_t count;
    unsigned wait_ms;        /* how long to wait for a verification, a rewrite or another prune */
    const atomic_bool *stop; /* true: ends with -ECANCELED at the next whole step; NULL: never */
};

/*
 * Removes those of the checkpoints that nobody holds, completes an earlier prune that was cut off,
 * and removes volumes that no checkpoint has and nobody has touched for BLX_PRUNE_ORPHAN_S. After
 * an error every checkpoint that still has a manifest restores as before; `report` says what was
 * done in any case. -EINVAL for a checkpoint that stays for a volume's sake (newest_private.h);
 * -EBUSY as said above; -EBADMSG if a manifest is damaged (nobody knows then which segments it
 * needs) or a chain that would be merged is broken.
 */
int blx_prune(struct blx_agent_store agent, const struct blx_prune_request *request,
              struct blx_prune_report *report, struct blx_error *err);
