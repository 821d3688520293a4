/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which frames of its own segments a checkpoint needs. If a newer segment of the same manifest also
 * holds a block, nobody needs the older copy: every checkpoint whose chain passes through the older
 * segment passes through the newer one, too. So one manifest and the indexes that it names tell
 * this, whatever comes before and after it in the chain.
 *
 * If any block of a frame is needed, or a zero extent, the whole frame is. Private to lib/store.
 *
 * Threads: no shared state. Waits for the disk. Memory: as segment/coverage_private.h says, and one
 * segment's index; the size that the agent declared costs next to nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/checkpoint/manifest.h"

struct blx_needed_frame {
    uint64_t offset_bytes;
    uint32_t bytes;
};

/* A segment of the manifest; borrowed by the visitor for the call. */
struct blx_needed_segment {
    uint32_t number;
    uint64_t frames_end_bytes;             /* where its frames end */
    const struct blx_needed_frame *frames; /* that are needed, ascending, each once */
    size_t frame_count;                    /* 0: the whole segment is not */
    uint64_t bytes;                        /* of these frames */
    uint64_t entries;                      /* of the index that name them */
    uint64_t data_blocks;                  /* of these entries */
};

/* The segments, newest first; ends at the first that is not 0, which is returned. */
typedef int blx_needed_visit(void *arg, const struct blx_needed_segment *segment,
                             struct blx_error *err);

/* `blocks` is how many distinct blocks the segments hold; may be NULL. -EBADMSG if an index
 * cannot be read or does not fit the volume. */
int blx_needed_find(const char *volume_dir, const struct blx_manifest_volume *volume,
                    blx_needed_visit *visit, void *arg, uint64_t *blocks, struct blx_error *err);

/* Whether a needed frame has bytes within [offset, offset + bytes). */
bool blx_needed_within(const struct blx_needed_segment *segment, uint64_t offset_bytes,
                       uint64_t bytes);
