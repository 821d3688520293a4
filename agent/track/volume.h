/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A volume: a device, its tracker, its ledger, and the way of a block's mark between them:
 *
 *     dirty (kernel) --age--> pending --claim--> in flight --acked--> durable
 *           \________________claim_______________/    \--requeue--> pending
 *
 * Full sync, resume, rescan and increment all use just these moves; they differ only in who sets
 * the marks. A block is never in flight twice: a claim leaves out blocks in flight, so an
 * acknowledgement can clear its bits without asking whether a newer copy is under way.
 *
 * I1 is kept by agent_volume_claim(): in flight is set, then pending and dirty are cleared
 * (atomically, by word), and only then does the caller read the block. A write that lands later
 * sets dirty again.
 *
 * A block that could not be read is pending and bad (bad_blocks.h). Only a claim for bad blocks
 * takes it; a write to it makes it an ordinary block again.
 *
 * Threads: only the session's control thread ages and claims. The receiver calls
 * agent_volume_clear_acked(). Whoever holds a claim may requeue its blocks or mark them unreadable.
 * The bitmaps need no lock: each move is an atomic operation on a word.
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

struct agent_volume {
    /* Constant while a session runs. */
    struct agent_device device;
    struct agent_tracker *tracker; /* owned; only the control thread calls it */
    uint64_t blocks;
    unsigned block_shift;
    const struct blx_volume_key *key;        /* borrowed; NULL: its frames are not encrypted */
    const struct blx_volume_key *digest_key; /* borrowed; makes its blocks' digests: `key`, or the
                                                session's; NULL: they have none. Changes between
                                                sessions */
    uint32_t index;                          /* within the agent */

    /* Atomic by word: the kernel, and any thread. */
    uint64_t *dirty; /* the tracker's */

    struct agent_ledger ledger;  /* ledger.h says it by field */
    struct agent_bad_blocks bad; /* bad_blocks.h says it by field */

    /* Guarded by the agent's lock while a session's threads run. The handshake sets it before. */
    uint64_t next_seq; /* of the next frame in this session [sender] */

    /* The control thread's alone. */
    struct blx_generation fresh; /* announced by the handshake; the ledger's stream from BEGIN on */
    uint64_t rescan_done_blocks; /* of the rescan under way, as far as it has counted */
    uint64_t rescan_total_blocks; /* 0: not counted yet */
    uint64_t rescan_found_blocks; /* that differ, since this process or the rescan began */
    uint64_t pass_since_ns;       /* when the pass began, or the session that goes on with it */
    bool pass_is_swept; /* a round has gone through all that the pass under way had marked */
    uint64_t discarded_sectors; /* of its disk, when agent_forget_trimmed() last looked closely */
};

/*
 * Opens device, tracker and ledger. If the tracker was adopted but the ledger is missing or of
 * another generation, the tracker is destroyed and a new one is made. Blocks that an earlier
 * process had in flight become pending (I3).
 */
int agent_volume_open(const char *device_path, const char *run_dir, uint32_t index,
                      struct agent_volume *volume, struct blx_error *err);

/* Closes all three; tracking goes on without the agent. */
void agent_volume_close(struct agent_volume *volume);

/* Closes all three and ends tracking and the generation: for a device that was resized or
 * replaced. */
void agent_volume_abandon(struct agent_volume *volume);

enum agent_claim {
    AGENT_CLAIM_QUIET, /* pending, not written to again since it was aged, and not bad */
    AGENT_CLAIM_ALL,   /* pending or dirty, and not bad; a bad block that is dirty counts as good */
    AGENT_CLAIM_BAD,   /* pending and bad */
};

/*
 * Claims marked blocks at or after *cursor into at most `max_extents` ascending extents of at most
 * `max_blocks` together, and moves *cursor past them. Returns how many extents; 0: no block was
 * found up to the end.
 */
uint32_t agent_volume_claim(struct agent_volume *volume, enum agent_claim kind, uint64_t *cursor,
                            uint32_t max_blocks, uint32_t max_extents, struct blx_extent *extents);

/* Claimed blocks that were not sent: pending again. */
void agent_volume_requeue(struct agent_volume *volume, const struct blx_extent *extents,
                          uint32_t count);

/* Claimed blocks that could not be read (`rc` is the error): pending again, and bad. */
void agent_volume_mark_unreadable(struct agent_volume *volume, struct blx_extent extent, int rc);

/* Everything in flight: pending again. After a session's end. */
void agent_volume_requeue_all(struct agent_volume *volume);

/* Moves dirty to pending. A later claim can then tell quiet blocks from those that are written to
 * all the time. */
void agent_volume_age(struct agent_volume *volume);

/* The frame with these extents is durable. */
void agent_volume_clear_acked(struct agent_volume *volume, const struct blx_extent *extents,
                              uint32_t count);

/* Whether a claim of AGENT_CLAIM_ALL would find something at or after `block`. */
bool agent_volume_has_marked(const struct agent_volume *volume, uint64_t block);

/* Blocks that are dirty or pending, without the bad ones, and blocks in flight. */
uint64_t agent_volume_count_marked(const struct agent_volume *volume);
uint64_t agent_volume_count_in_flight(const struct agent_volume *volume);

/*
 * A full pass: marks every block that is set in the bitmap `wanted` (NULL: every block), and
 * remembers the reason for status.
 */
void agent_volume_mark_all(struct agent_volume *volume, const uint64_t *wanted, const char *reason);

/* Marks the blocks that are set in `wanted`, from `first_block` on. Pass and reason stay as they
 * are. */
void agent_volume_mark_from(struct agent_volume *volume, const uint64_t *wanted,
                            uint64_t first_block);

/*
 * A rescan (session/rescan.c) of the blocks before `end_block` begins, also if one is under way.
 * When it has compared all of them it ends; the blocks that it has marked are then the pass that is
 * sent.
 */
void agent_volume_begin_rescan(struct agent_volume *volume, uint64_t end_block, const char *reason);
void agent_volume_end_rescan(struct agent_volume *volume);

/* A checkpoint is cut: every block that a pass has marked has been sent. */
void agent_volume_end_pass(struct agent_volume *volume);

/*
 * I4: has tracking become doubtful since the last agent_volume_settle_doubt()? True fills `reason`.
 * That function is called when a rescan has begun because of the doubt.
 */
bool agent_volume_is_doubtful(const struct agent_volume *volume,
                              const struct agent_tracker_counters *counters,
                              char reason[BLX_TEXT_BYTES]);
void agent_volume_settle_doubt(struct agent_volume *volume,
                               const struct agent_tracker_counters *counters);
