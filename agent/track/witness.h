/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A second opinion on the tracker (I4). The kernel counts the sectors that a disk's requests have
 * written, for the disk's statistics, and so do the tracker's programs. What the kernel has counted
 * and no program has is a write that nobody marked.
 *
 * Why it is needed: the kernel may leave out a tracing program without counting it. Measured on a
 * 6.18 guest kernel that runs none upon one process (its PID 1): a completion whose softirq came
 * upon that process ran no copy, and no counter rose. It was so with 135 of 2.1 million
 * completions, and each one could become a stale block in an image.
 *
 * How it compares: in blk_update_request() and blk_complete_request() the tracepoint comes before
 * the statistics, so the tracker's count leads the kernel's by a number of sectors that never
 * falls. (It rises with a write that was counted twice, see bpf/tracker.h.) It falls by what was
 * not seen. Reading the tracker's count first and the kernel's a moment later bounds the lead from
 * below, and the other way round from above. While the disk is idle both bounds are exact; under
 * load a loss may be hidden until the disk pauses. A cut that is labelled better than "none" is
 * such a pause.
 *
 * A processor may be taken away between the tracepoint and the statistics, for as long as others
 * want it, and then the lead looks higher than it is: the next comparison would miss what was never
 * lost. So a look by which the lead would rise is repeated a while later, and the lower one counts.
 *
 * It has nothing to compare of disks whose queue/iostats is 0, nor of bio-based devices, whose
 * drivers count as they like. For those the ranges that stay owed are the witness
 * (owed_private.h), and what it finds is in the tracker's counters.
 *
 * Threads: one at a time. The struct lives in the ledger and outlives the process (I3).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/disk/device.h"
#include "agent/track/tracker.h"
#include "base/error.h"

/* All zero: it knows nothing yet. */
struct agent_witness {
    bool knows;
    int64_t lead_sectors;    /* the tracker's count less the kernel's, at least */
    uint64_t unseen_sectors; /* written, and not seen by the tracker, so far */
};

/* Compares now; takes a millisecond, or a fifth of a second if the lead would rise. More unseen
 * sectors than before = rescan. */
int agent_witness_ask(struct agent_witness *witness, struct agent_tracker *tracker,
                      const struct agent_device *device, struct blx_error *err);

/* One look: what the tracker had counted, what the kernel had a moment later, and the tracker again
 * after that. */
struct agent_witness_look {
    uint64_t before_sectors, kernel_sectors, after_sectors;
};

/* The same by looks of the caller's. look() is called once, or twice if the lead would rise; what
 * is not 0 ends this, and is returned. */
int agent_witness_take(struct agent_witness *witness,
                       int (*look)(void *arg, struct agent_witness_look *out,
                                   struct blx_error *err),
                       void *arg, struct blx_error *err);

/* The comparison itself: what the tracker had counted, what the kernel had a moment later, and the
 * tracker again after that. */
void agent_witness_compare(struct agent_witness *witness, uint64_t before_sectors,
                           uint64_t kernel_sectors, uint64_t after_sectors);
