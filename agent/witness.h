/*
 * A second opinion on the tracker (I4). The kernel counts the sectors that a disk's requests have
 * written, for the disk's statistics, and so does every copy of the tracker's program. What the
 * kernel has counted and no copy has is a write that nobody marked.
 *
 * Why it is needed: the kernel may leave out a tracing program without counting it. Measured on a
 * 6.18 guest kernel that runs none upon one process (its PID 1): a completion whose softirq came
 * upon that process ran no copy, and no counter rose. It was so with 135 of 2.1 million
 * completions, and each one could become a stale block in an image.
 *
 * How it compares: in blk_update_request() and blk_complete_request() the tracepoint comes before
 * the statistics, so a copy's count leads the kernel's by a number of sectors that never falls. It
 * falls by what the copy did not see. A copy's lead is known from below by reading the copy's count
 * first and the kernel's a moment later, and from above the other way round; while the disk is idle
 * both are exact, under load a loss may be hidden until it pauses. A cut that is labelled better
 * than "none" is such a pause. Where the kernel says that it skipped runs of a copy (for whatever
 * disk), this copy's lead is learned anew.
 *
 * It has nothing to say of bio-based devices, whose drivers count as they like, and of disks whose
 * queue/iostats is 0.
 *
 * Threads: one at a time. The struct lives in the ledger and outlives the process (I3).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/device.h"
#include "agent/tracker.h"
#include "base/error.h"

struct blx_witness {
    struct {
        bool known;
        int64_t sectors;         /* a copy's count less the kernel's, at least */
        uint64_t skipped;        /* the copy's skipped runs by then */
    } leads[BLX_TRACKER_COPIES]; /* all zero: nothing is known yet */
    uint64_t unseen_sectors;     /* written, and seen by no copy, so far */
};

/* Compares now; takes a millisecond. More unseen sectors than before = rescan. */
int blx_witness_ask(struct blx_witness *witness, const struct blx_tracker *tracker,
                    const struct blx_device *device, struct blx_error *err);

/* One look at the copies. */
struct blx_witness_look {
    uint64_t sectors[BLX_TRACKER_COPIES];
    uint64_t skipped[BLX_TRACKER_COPIES];
};

/*
 * The comparison itself: what the copies had counted (skipped runs read first), what the kernel had
 * a moment later, and the copies again behind that (skipped runs read last).
 */
void blx_witness_compare(struct blx_witness *witness, const struct blx_witness_look *before,
                         uint64_t kernel_sectors, const struct blx_witness_look *after);
