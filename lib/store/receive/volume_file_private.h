/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A volume's state file, DIR/agents/ID/volumes/VOL/volume: it says what the uncommitted segments
 * are.
 * Replaced atomically. Private to lib/store.
 *
 * Threads: one thread per volume (the session). Waits for the disk.
 */
#pragma once

#include "base/error.h"
#include "wire/message.h"

struct blx_volume_file {
    struct blx_generation generation; /* none: frames were lost, a rescan must come first */
    bool distrusted;                  /* what is stored cannot be read: a full pass must come */
    uint64_t size_bytes;
    unsigned block_shift;
    uint32_t full_since;   /* the segment with which a full pass began that is not committed yet; 0:
                              none */
    uint32_t rescan_since; /* the segment with which a rescan began the generation: uncommitted ones
                              below it are of earlier generations and stay; 0: none */
    uint64_t seq_before;   /* the generation's last frame before the full pass */
    blx_timestamp full_after; /* the agent's newest checkpoint when that pass began */
    char device[BLX_TEXT_BYTES];
    char identity[BLX_TEXT_BYTES];
};

/* -ENOENT if there is none; -EBADMSG if it is damaged. */
int blx_volume_file_read(const char *volume_dir, struct blx_volume_file *file,
                         struct blx_error *err);

/* Durable when it returns 0. */
int blx_volume_file_write(const char *volume_dir, const struct blx_volume_file *file,
                          struct blx_error *err);
