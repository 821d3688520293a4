/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chain, ready to be read: the segments of a volume's checkpoint and of its ancestors down to the
 * base, flattened into one index and ordered into frames. Every reader of a chain begins with a
 * plan. Private to lib/store.
 *
 * Memory: about 150 bytes an entry while it is made, 100 then. If the chain has more entries than
 * the plan may hold, the plan covers a window of the volume: the window ends with the last entry
 * that fits, and the next plan begins there.
 *
 * Threads: immutable once it is made.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "crypt/keyring.h"
#include "store/agent_lock.h"
#include "store/checkpoint/manifest.h"
#include "store/segment/index.h"
#include "store/segment/segment.h"
#include "store/view/losses.h"

/*
 * In place of a frame's offset: the entry's digests are in its segment's table, from its data_block
 * on, and its frame is not known. So entries of a table join across frames, and the index of a disk
 * that was sent in order is a few entries.
 */
enum { BLX_PLAN_TABLE = 0 };

/* A frame of which blocks are needed: entries[first] to entries[first + count - 1]. */
struct blx_plan_frame {
    size_t first;
    size_t count;
    uint64_t start_block; /* the lowest of them */
};

struct blx_plan {
    size_t max_entries;   /* 0: no limit; at least 2 */
    size_t max_files;     /* segments that stay open; the others are opened for each frame */
    uint64_t start_block; /* of the window */
    uint64_t end_block;   /* 0: the volume's end */
    const struct blx_extent *wanted; /* borrowed, ascending and disjoint: other blocks are left
                                        out; NULL: all are wanted */
    size_t wanted_count;
    uint64_t size_bytes;
    unsigned block_shift;
    struct blx_segment_reader **segments; /* owned, shrunk; entry.segment counts in it */
    size_t segment_count;
    size_t chain_begin;            /* so many of them are newer than the chain's */
    struct blx_index index;        /* the data entries, by frame; the zero ones are gone */
    struct blx_plan_frame *frames; /* owned; by start_block */
    size_t frame_count;
    struct blx_extent *holes; /* owned; the wanted blocks that no data entry covers, ascending */
    size_t hole_count;
    uint64_t data_bytes;              /* that will be written */
    struct blx_losses *losses;        /* borrowed; NULL: damage is an error */
    const struct blx_volume_key *key; /* borrowed; NULL: its frames are not encrypted */
    struct blx_key_id tables;         /* digests of that key are taken from the segments' tables:
                                         BLX_PLAN_TABLE; none: from no table */
    struct blx_agent_lock *lock;      /* owned; holds the checkpoint, so that no prune removes it;
                                          NULL: nothing is held */
    char cut[256];                    /* why the chain ends before its base; empty: it does not */
    struct blx_extent *unreadable;    /* owned; blocks that the newest checkpoint lacks */
    uint32_t unreadable_count;
};

/*
 * The parts of a plan, also for other readers (view.h). Each adds segments to a plan that begins
 * as zero: the newest first. size_bytes and block_shift are those of the first checkpoint or
 * segment that is added, unless they are set before. The index must be flattened at the end. A
 * chain is held from then on: no prune takes anything from it before blx_plan_done().
 */
int blx_plan_add_chain(struct blx_agent_store agent, blx_timestamp checkpoint, const char *volume,
                       struct blx_plan *plan, struct blx_error *err);

/* A sealed segment whose volume then had `size_bytes`. */
int blx_plan_add_segment(struct blx_plan *plan, const char *volume_dir, uint32_t number,
                         uint64_t size_bytes, struct blx_error *err);

/* The plan begins as zero, except for max_entries, max_files, start_block, end_block, wanted,
 * losses, tables and key. -ENOENT
 * for an unknown checkpoint or volume; -EBADMSG if the chain or an index is damaged, or the
 * checkpoint lacks blocks that the agent could not read, unless `losses` takes the gaps. Free with
 * _done(), also after an error. */
int blx_plan_make(struct blx_agent_store agent, blx_timestamp checkpoint, const char *volume,
                  struct blx_plan *plan, struct blx_error *err);
void blx_plan_done(struct blx_plan *plan);

/* The last two steps of it, for an index that came from elsewhere and is flattened: turns the zero
 * entries and the gaps into holes, so that the index keeps the data; and orders that by frame.
 * -ENOMEM. */
int blx_plan_split_off_holes(struct blx_plan *plan, struct blx_error *err);
int blx_plan_group_frames(struct blx_plan *plan, struct blx_error *err);
