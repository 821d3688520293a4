/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A volume: a device, its tracker, its ledger, and the way of a block's mark between them:
 *
 *     dirty (kernel) --age--> pending --claim--> in flight --acked--> durable
 *           \________________claim_______________/    \--requeue--> pending
 *
 * Full sync, resume, rescan and increment all use just these moves; they differ only in who set the
 * marks. A block is never in flight twice: a claim leaves out what is in flight, so an
 * acknowledgement can clear its bits without asking whether a newer copy is under way.
 *
 * I1 is held in claim(): in flight is set, then pending and dirty are cleared (atomically, by
 * word), and only then does the caller read the block. A write that lands later sets dirty again.
 *
 * A block that could not be read is pending and bad (bad_blocks.h): only a claim for such blocks
 * takes it, or a write to it makes it an ordinary one again.
 *
 * Threads: one thread ages and claims (the session's control thread); acked() is the receiver's;
 * requeue() and unreadable() are anybody's who holds the claim.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/track/bad_blocks.h"
#include "agent/disk/device.h"
#include "agent/track/ledger.h"
#include "agent/track/tracker.h"
#include "base/error.h"
#include "wire/frame.h"

struct blx_volume {
    struct blx_device device;
    struct blx_tracker *tracker; /* owned */
    struct blx_ledger ledger;
    uint64_t *dirty; /* the tracker's */
    uint64_t blocks;
    struct blx_bad_blocks bad;
    unsigned block_shift;
    const struct blx_volume_key *key; /* borrowed; NULL: its frames are not encrypted */
    uint32_t index;                   /* within the agent */
    uint64_t next_seq;                /* of the next frame in this session; the sender's */
    uint64_t rescan_done_blocks;      /* of the rescan under way, as far as it has counted */
    uint64_t rescan_total_blocks;     /* 0: not counted yet */
};

/*
 * Opens device, tracker and ledger. Where the tracker was adopted but the ledger is not there or of
 * another generation, the tracker is destroyed and born anew. Marks that an earlier process had in
 * flight become pending (I3).
 */
int blx_volume_open(const char *device_path, const char *run_dir, uint32_t index,
                    struct blx_volume *volume, struct blx_error *err);

/* Tracking goes on without us. */
void blx_volume_close(struct blx_volume *volume);

/* Tracking ends, the generation dies: for a device that is not what it was. */
void blx_volume_abandon(struct blx_volume *volume);

enum blx_claim {
    BLX_CLAIM_QUIET, /* pending, and not written to again since it was aged */
    BLX_CLAIM_ALL,   /* pending or dirty; both leave out what is bad and was not written to since */
    BLX_CLAIM_BAD,   /* just that */
};

/*
 * Claims marked blocks at or after *cursor into at most `max_extents` ascending extents of at most
 * `max_blocks` together, and moves *cursor behind them. Returns how many extents; 0: nothing was
 * found up to the end.
 */
uint32_t blx_volume_claim(struct blx_volume *volume, enum blx_claim kind, uint64_t *cursor,
                          uint32_t max_blocks, uint32_t max_extents, struct blx_extent *extents);

/* Claimed blocks that were not sent: pending again. */
void blx_volume_requeue(struct blx_volume *volume, const struct blx_extent *extents,
                        uint32_t count);

/* Claimed blocks whose reading gave `rc`: pending again, and bad. */
void blx_volume_unreadable(struct blx_volume *volume, struct blx_extent extent, int rc);

/* Everything in flight: pending again. After a session's end. */
void blx_volume_requeue_all(struct blx_volume *volume);

/* Moves dirty to pending, so that a later claim can tell the quiet blocks from those being written
 * to all the time. */
void blx_volume_age(struct blx_volume *volume);

/* The frame with these extents is durable. */
void blx_volume_acked(struct blx_volume *volume, const struct blx_extent *extents, uint32_t count);

/* Whether a claim of BLX_CLAIM_ALL would find something at or after `block`. */
bool blx_volume_has_marked(const struct blx_volume *volume, uint64_t block);

/* Blocks that are dirty or pending, without the bad ones, and blocks in flight. */
uint64_t blx_volume_marked(const struct blx_volume *volume);
uint64_t blx_volume_in_flight(const struct blx_volume *volume);

/*
 * A full pass: marks every block that is set in the bitmap `wanted` (NULL: every block), and
 * remembers the reason for status.
 */
void blx_volume_mark_all(struct blx_volume *volume, const uint64_t *wanted, const char *reason);

/* Marks what is set in `wanted` from `first_block` on; the pass and its reason are others'. */
void blx_volume_mark_from(struct blx_volume *volume, const uint64_t *wanted, uint64_t first_block);

/*
 * A rescan (rescan.h) of the blocks before `end_block` begins, also where one is under way. When it
 * has compared all of them it ends; what it has marked is then the pass that is being sent.
 */
void blx_volume_begin_rescan(struct blx_volume *volume, uint64_t end_block, const char *reason);
void blx_volume_end_rescan(struct blx_volume *volume);

/* A checkpoint is cut: whatever a pass has marked has been sent. */
void blx_volume_end_pass(struct blx_volume *volume);

/*
 * I4: has tracking become doubtful since the ledger was last squared with it? True fills `reason`.
 * The ledger is squared by blx_volume_settle(), called when a rescan has begun because of it.
 */
bool blx_volume_doubtful(const struct blx_volume *volume,
                         const struct blx_tracker_counters *counters, char reason[BLX_TEXT_BYTES]);
void blx_volume_settle(struct blx_volume *volume, const struct blx_tracker_counters *counters);
