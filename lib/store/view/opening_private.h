/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens the segments of a chain, several at a time, and hands them over in the given order. A chain
 * of 10,000 segments is 10,000 small reads; on a cold disk one thread waits for each of them.
 *
 *     openers   take the next segment, read its ends, wait for room, read its index
 *     caller    takes the segments in order, and opens one itself if nobody has begun with it
 *
 * Memory: at most BLX_OPENING_AHEAD segments are open and not handed over. Together their indexes
 * have BLX_OPENING_ENTRIES entries, and the one that the caller waits for.
 *
 * Private to lib/store. Threads: the call belongs to its caller; the openers end within it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/timestamp.h"
#include "store/segment/segment.h"

enum {
    BLX_OPENING_THREADS = 7, /* beside the caller's */
    BLX_OPENING_AHEAD = 64,
    BLX_OPENING_ENTRIES = 1 << 17,
};

/* A segment as the chain names it. */
struct blx_chain_segment {
    blx_timestamp checkpoint; /* whose manifest names it; 0: none does yet */
    uint64_t size_bytes;      /* of the volume then */
    uint32_t number;
};

/*
 * Calls visit() for each segment, in the caller's thread and in order: with its reader, which then
 * is the callee's, or with NULL and the reason why it cannot be opened. A visit that returns other
 * than 0 fills `err` and ends it all with that. -ENOMEM.
 */
int blx_opening_run(const char *volume_dir, const struct blx_chain_segment *segments, size_t count,
                    int (*visit)(void *arg, const struct blx_chain_segment *segment,
                                 struct blx_segment_reader *reader, const struct blx_error *cause,
                                 struct blx_error *err),
                    void *arg, struct blx_error *err);
