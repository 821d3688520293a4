/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes segments that are mostly dead again, without the dead frames. A prune makes holes of dead
 * frames, but the ends of holes, the index's dead entries and small files stay, and on a filesystem
 * without holes everything does. So segments of one checkpoint that follow each other are replaced
 * by one that has just their needed frames, byte for byte as they are: nothing is unpacked, and if
 * one block of a frame is needed the whole frame goes along. STORE.md, "Rewriting segments", says
 * what a crash leaves.
 *
 * A segment is rewritten if that frees a tenth of its new size. Afterwards a checkpoint's segments
 * take at most that much more than its needed frames and their index.
 *
 * Safe beside a running dispatcher, restores and verifications: agent_lock.h. If a restore reads a
 * segment that would be replaced, or a verification runs, the segment is left for another time.
 *
 * Threads: no shared state; one rewrite per agent at a time, whatever the process (-EBUSY). Blocks
 * on the disk, and sleeps if it may not go faster. Memory: the agent's manifests, a bit for each
 * block of a volume, the index of the segment that is made.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/store.h"

struct blx_rewrite_request {
    uint64_t bytes_per_second; /* that are copied at most; 0: as fast as the disk */
    unsigned wait_ms;          /* how long to wait for a prune, a verification or another rewrite */
    const atomic_bool *stop;   /* true: ends with -ECANCELED soon; NULL: never */
    /* Called after each frame; NULL: never. The total is known before the first. */
    void (*progress)(void *arg, uint64_t done_bytes, uint64_t total_bytes);
    void *arg;
};

struct blx_rewrite_report {
    size_t replaced;       /* segments that are gone, or smaller */
    size_t put_off;        /* that somebody reads */
    size_t damaged;        /* that have a needed frame which is damaged, and stay as they are */
    uint64_t copied_bytes; /* of frames */
    uint64_t freed_bytes;
};

/*
 * Rewrites the segments that are worth it, as said above. After an error, and after a crash at any
 * point, every checkpoint restores as before; `report` says what was done in any case. -EBUSY as
 * said above, -EBADMSG if a manifest or an index is damaged.
 */
int blx_rewrite(struct blx_agent_store agent, const struct blx_rewrite_request *request,
                struct blx_rewrite_report *report, struct blx_error *err);
