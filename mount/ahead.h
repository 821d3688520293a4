/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that run ahead of whoever reads a file from front to back, so that its frames are
 * unpacked when they are asked for. What there is no time for is left out.
 *
 * Threads: any.
 */
#pragma once

#include <stdint.h>

#include "mount/tree.h"

struct mount_ahead;

/* NULL: no memory, or no thread. */
struct mount_ahead *mount_ahead_new(void);

/* Waits for what is under way. NULL is allowed. */
void mount_ahead_free(struct mount_ahead *ahead);

/* What somebody has read of a file. Begins as zero; one for each open file, with a lock inside of
 * it that is mount_ahead's. */
struct mount_ahead_reader {
    _Atomic uint64_t next_bytes;  /* where the last read ended */
    _Atomic uint64_t ahead_bytes; /* up to here it was asked for */
};

/* After a read of `bytes` at `offset_bytes`. The caller has got the checkpoint. */
void mount_ahead_follow(struct mount_ahead *ahead, struct mount_ahead_reader *reader,
                        struct mount_checkpoint *checkpoint, const struct mount_file *file,
                        uint64_t bytes, uint64_t offset_bytes);
