/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store proves itself: every byte below DIR/agents is read and checked, and each damage names
 * just the checkpoints whose restore needs what is damaged (I12).
 *
 * A damaged frame hurts a checkpoint while one of its data blocks is the newest state of that
 * block: from the first checkpoint with the frame to the last before the block is overwritten, or
 * before a new base. A segment that cannot be opened (header, index, footer, gone), and a manifest,
 * hurt every checkpoint whose chain passes through them.
 *
 * Works while a dispatcher receives on the store: what is committed stays as it is (a prune waits
 * until the verification has ended), and what is being received is judged as a recovery would judge
 * it. Nothing is written; the healing of what is damaged is ordered by the caller (rescan_order.h).
 *
 * Threads: the calling thread plans, reports and draws the conclusions; workers of the call's own
 * (one a CPU, 8 at most) read. Blocks until done. Memory: the manifests of one agent, and for each
 * worker a frame and the index of a segment.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bitmap.h"
#include "base/error.h"
#include "store/checkpoint/manifest.h"
#include "store/store.h"

enum blx_damage_scope {
    BLX_DAMAGE_COMMITTED,   /* it belongs to a checkpoint; which ones it hurts, `checkpoints` says:
                               perhaps none any more */
    BLX_DAMAGE_UNCOMMITTED, /* no checkpoint that can be read names the segment */
    BLX_DAMAGE_STATE        /* a volume's state file: the next session begins with a full pass */
};

enum { BLX_DAMAGE_CAUSE_BYTES = 512 };

struct blx_damage {
    char agent_id[BLX_NAME_BYTES];
    char volume[BLX_NAME_BYTES]; /* "": a checkpoint's manifest */
    char *file;                  /* owned; below the data directory */
    uint64_t offset_bytes,
        bytes; /* within the file; 0 bytes: it is not there, or cannot be opened */
    char cause[BLX_DAMAGE_CAUSE_BYTES];
    enum blx_damage_scope scope;
    unsigned block_shift;
    struct blx_extent
        *extents; /* owned; the volume's blocks whose data lay there, as far as an index tells */
    size_t extent_count;
    blx_timestamp *checkpoints; /* owned; that are hurt, oldest first */
    size_t checkpoint_count;
};

struct blx_hurt {
    char agent_id[BLX_NAME_BYTES];
    blx_timestamp checkpoint;
    bool newest; /* of its agent: the next checkpoint would be hurt as well */
};

struct blx_verify_report {
    uint64_t agents, checkpoints, segments, frames;
    uint64_t checked_bytes;
    uint64_t torn_bytes; /* behind the last whole frame of open segments: of running sessions, or of
                            a crash */
    struct blx_damage
        *damages; /* owned; by agent, manifests first, then by volume, file and offset */
    size_t damage_count;
    struct blx_hurt *hurt; /* owned; every checkpoint that some damage hurts, once, in order */
    size_t hurt_count;
    struct blx_hurt *unreadable; /* owned; the checkpoints that lack what their agents could not
                                    read: no damage of the store, and not in `hurt` for it */
    size_t unreadable_count;
};

void blx_verify_report_done(struct blx_verify_report *report);

/* Called a few times a second from the calling thread. The total may still grow. */
struct blx_verify_progress {
    void (*report)(void *arg, uint64_t done_bytes, uint64_t total_bytes);
    void *arg;
};

/*
 * Checks the agent `agent_id`, or all where it is NULL. 0 where all was checked, whatever was
 * found: see report->damage_count. -ENOENT for an unknown agent; others where the check could not
 * be made (permissions, memory). `progress` may be NULL. Free `report` with _done() in any case.
 */
int blx_verify(const struct blx_store *store, const char *agent_id,
               const struct blx_verify_progress *progress, struct blx_verify_report *report,
               struct blx_error *err);
