/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store proves itself: every byte below DIR/agents is read and checked, and each damage names
 * just the checkpoints whose restore needs the damaged bytes (I12).
 *
 * A damaged frame hurts a checkpoint while one of its data blocks is the newest state of that
 * block: from the first checkpoint with the frame to the last before the block is overwritten, or
 * before a new base. A segment that cannot be opened (header, index, footer, gone), and a manifest,
 * hurt every checkpoint whose chain passes through them.
 *
 * Works while a dispatcher receives on the store: committed segments stay as they are (a prune
 * waits until the verification has ended), and an open segment is judged as a recovery would judge
 * it. Nothing is written; the caller orders a rescan that heals the damage (rescan_order.h).
 *
 * Threads: the calling thread plans, reports and draws the conclusions; workers of the call's own
 * (one a CPU, 8 at most) read. Blocks until done. Memory: the manifests of one agent, and for each
 * worker a frame and the index of a segment.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "store/store.h"
#include "store/verify/verify_report.h"

/* Called a few times a second from the calling thread. The total may still grow. */
struct blx_verify_progress {
    void (*report)(void *arg, uint64_t done_bytes, uint64_t total_bytes);
    void *arg;
};

/*
 * Checks the agent `agent_id`, or all if it is NULL. 0 if all was checked, even if damage was
 * found: see report->damage_count. -ENOENT for an unknown agent; others if the check could not be
 * made (permissions, memory). `progress` may be NULL. Free `report` with _done() in any case.
 */
int blx_verify(const struct blx_store *store, const char *agent_id,
               const struct blx_verify_progress *progress, struct blx_verify_report *report,
               struct blx_error *err);
