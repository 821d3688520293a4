/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The eBPF tracker of one device: loads, attaches and pins the programs of bpf/tracker.bpf.c, or
 * adopts the ones that an earlier agent process left pinned, and maps the dirty bitmap.
 *
 * Everything lives under /sys/fs/bpf/blxrep/KERNEL_NAME/: the bitmap, the small maps, one link per
 * program. The programs go on marking while no agent runs (I3). The pinned `identity` map says
 * which disk (number, diskseq, range, block size) and which generation the bitmap is of, and is
 * written last, so that a half-made set of pins is recognised, removed and made again. The
 * directory is flock()ed while an agent uses it: one agent process per device, a second one is
 * refused by name.
 *
 * Threads: the bitmap may be used by any; the other functions by one thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/disk/device.h"
#include "base/error.h"
#include "wire/frame.h"

struct agent_tracker;

/*
 * Blocks are 4 KiB up to 4 TiB, then larger so that the bitmap stays within 128 MiB. Mounts bpffs
 * on /sys/fs/bpf if it is missing. Errors, each with its way out: no rights (which capability),
 * no BTF, kernel too old, bpffs read-only, device tracked by another agent (pid if known),
 * memory. On failure nothing new stays pinned.
 */
int agent_tracker_open(const struct agent_device *device, struct agent_tracker **tracker,
                       struct blx_error *err);

/* Closes; the programs and pins stay and go on marking. NULL is allowed. */
void agent_tracker_close(struct agent_tracker *tracker);

/* Detaches and removes the pins: tracking ends, the generation dies. Closes. For a device that
 * changed under us. */
void agent_tracker_destroy(struct agent_tracker *tracker);

/* The same for the tracker that an earlier process has left, if there is one. For a device that has
 * lost its medium: whatever comes back was not watched, and nothing else may tell that it went. */
void agent_tracker_forget(const struct agent_device *device);

/* True if pins of an earlier process were adopted: the generation goes on. */
bool agent_tracker_is_adopted(const struct agent_tracker *tracker);
const struct blx_generation *agent_tracker_get_generation(const struct agent_tracker *tracker);
unsigned agent_tracker_get_block_shift(const struct agent_tracker *tracker);
uint64_t agent_tracker_get_blocks(const struct agent_tracker *tracker);

/* The dirty bitmap, shared with the kernel: clear bits by atomic operations only (I1). */
uint64_t *agent_tracker_get_dirty(const struct agent_tracker *tracker);

struct agent_tracker_counters {
    uint64_t events; /* completions that changed data; for people only, it may lag by a few */
    /*
     * Grows (by one or more) with each data-changing bio queued to the disk and each write
     * completed by it: unchanged, and no writes in flight (agent_device_count_writes()) before
     * and after = nothing was written in between.
     */
    uint64_t queued;
    /* Completions that every copy of the program may have missed: more than before = rescan (I4).
     * missed_private.h says when. */
    uint64_t missed;
    /*
     * Commands with no usable sector that may have written (SG_IO and the like, with data to the
     * disk): more than before = rescan. Commands that change data and send none (a SCSI FORMAT)
     * look like an inquiry to the kernel and are not seen.
     */
    uint64_t passthrough;
    /*
     * Events that could not be marked (range lost, zone reset, too large for this kernel), or that
     * may have been (a write was under way when tracking began; one was never seen to complete):
     * more than before = rescan.
     */
    uint64_t unmarked;
};

/* Reads them now; cheap enough for every cycle. Counters count from the tracker's birth, not from
 * adoption. */
int agent_tracker_read_counters(struct agent_tracker *tracker,
                                struct agent_tracker_counters *counters, struct blx_error *err);

/*
 * Marks the blocks of all writes whose completion was not seen yet: at each cut, before anything is
 * claimed (owed_private.h). True if one of them may be in flight now. For a device that is not
 * bio-based it does nothing.
 */
bool agent_tracker_mark_owed(struct agent_tracker *tracker);

/*
 * Looks for writes that were never seen to complete, and for those from before the tracker's birth;
 * what it finds counts as unmarked. Of use for a bio-based device only; takes two milliseconds.
 */
int agent_tracker_look(struct agent_tracker *tracker, const struct agent_device *device,
                       struct blx_error *err);

/* For witness.h: the sectors of the whole disk's requests that some copy of the program has seen
 * written or discarded. Of no use for a bio-based device. */
int agent_tracker_read_sectors(const struct agent_tracker *tracker, uint64_t *sectors,
                               struct blx_error *err);
