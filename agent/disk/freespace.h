/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The blocks that a first sync need not read, because the mounted ext4 and xfs filesystems on a
 * device call them free (FS_IOC_GETFSMAP). They count as zero. A block that is allocated and
 * written later is a tracked write, so tracking must run before this is called.
 *
 * Threads: none of its own. Takes as long as a syncfs and the queries, but not longer than
 * patience.h says.
 */
#pragma once

#include "agent/disk/device.h"
#include "agent/disk/mounts.h"
#include "base/error.h"

/*
 * Clears in `wanted` (a bitmap of the device's blocks, not shared) every block that is wholly free.
 * Blocks of filesystems that do not know this call or do not answer, and of those that are not on
 * one linear range of the device, stay as they are. `skipped_blocks`: how many were cleared.
 */
int agent_freespace_exclude(const struct agent_device *device, const struct agent_mounts *mounts,
                            unsigned block_shift, uint64_t *wanted, uint64_t *skipped_blocks,
                            struct blx_error *err);
