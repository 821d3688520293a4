/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each block of a volume was packed to, as of its newest measured checkpoint: the file
 * volumes/VOL/ratios, a byte a block. So a measure asks for the blocks that a checkpoint replaces,
 * and not for the whole chain below it.
 *
 * The file is a memory; the chain is the truth. It says which checkpoint it shows, and says none
 * while it is being changed. If that is another one than the caller wants, the map is made again
 * from the chain, once. It is never synced: a power cut may leave bytes of different checkpoints,
 * which makes a measure wrong and nothing else.
 *
 * Memory: a window of 4 KiB, and 24 bytes an entry of the segment at hand. The file is sparse: it
 * takes a page where data was received.
 *
 * Private to lib/store. Threads: a map belongs to one thread. Waits for the disk.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/timestamp.h"
#include "store/segment/segment.h"
#include "store/signal/change.h"

enum {
    BLX_RATIO_WINDOW_BLOCKS = 4096,
    BLX_RATIO_WHOLE = 255, /* packed to its own size, or worse */
    BLX_RATIO_HARD = 208,  /* from here on, 82 %, a block did not pack */
    BLX_RATIO_LEAP = 51,   /* that a hardened block went up at least: 20 % */
};

struct blx_ratio_map {
    int fd; /* -1: none */
    unsigned block_shift;
    blx_timestamp checkpoint; /* that it shows; 0: none */
    uint64_t data_blocks, hard_blocks;
    uint64_t window; /* the number of the one in memory */
    bool has_window, dirty;
    uint8_t bytes[BLX_RATIO_WINDOW_BLOCKS];
};

/* How the share of a frame is found. */
enum blx_ratio_source {
    BLX_RATIO_FROM_INDEX,   /* without a read; too high if a later frame has some of its blocks */
    BLX_RATIO_FROM_HEADERS, /* the same, but one that would be hard is asked for its header */
};

/* Opens or makes the file in the volume's folder. One that is damaged, or of another block size,
 * shows no checkpoint and is empty. */
int blx_ratio_map_open(const char *volume_dir, unsigned block_shift, struct blx_ratio_map *map,
                       struct blx_error *err);

/* Forgets everything. */
int blx_ratio_map_reset(struct blx_ratio_map *map, struct blx_error *err);

/* Takes the segment's blocks in. What they replace is added to `change`; NULL: it is not asked for.
 * Blocks from `end_block` on are passed over. The disk's errors; -ENOMEM. */
int blx_ratio_map_apply(struct blx_ratio_map *map, const struct blx_segment_reader *reader,
                        enum blx_ratio_source source, uint64_t end_block, struct blx_change *change,
                        struct blx_error *err);

/* From now on the map shows that checkpoint. */
int blx_ratio_map_stamp(struct blx_ratio_map *map, blx_timestamp checkpoint, struct blx_error *err);

/* A map that was never opened must have fd = -1. */
void blx_ratio_map_close(struct blx_ratio_map *map);
