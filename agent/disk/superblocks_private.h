/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filesystems that are alive in the kernel, wherever they are mounted: /sys/fs/{ext4,xfs,f2fs} name
 * each by its device, /sys/fs/btrfs by its members. So a mount in another namespace, a covered one,
 * and one after `umount -l` are found without a path. Also: filesystems that need more devices than
 * the volumes are (a journal or log on another disk, members of a btrfs, the legs of a stripe).
 */
#pragma once

#include "agent/disk/mounts.h"
#include "base/cleanup.h"

/* Read-only filesystems that this mount namespace shows. */
struct agent_seen {
    struct agent_devno *list; /* owned */
    size_t count, capacity;
};

int agent_seen_add(struct agent_seen *seen, uint32_t major, uint32_t minor);
void agent_seen_done(struct agent_seen *seen);
#define AGENT_CLEANUP_SEEN BLX_CLEANUP(agent_seen_done)

/* A doubt for each filesystem on the devices that is neither in `mounts` nor in `seen`. */
int agent_superblocks_find_hidden(const struct agent_device *devices, size_t count,
                                  const struct agent_seen *seen, struct agent_mounts *mounts);

/* A doubt for each mount that needs a device that is not carried. */
void agent_superblocks_find_incomplete(const struct agent_device *devices, size_t count,
                                       struct agent_mounts *mounts);
