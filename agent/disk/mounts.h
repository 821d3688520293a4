/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mounted filesystems on the agent's volumes, in mount order. Each is there once (bind mounts
 * are one filesystem), with an open descriptor of its root, so that nothing has to be looked up
 * while it is frozen. They are found through /proc/self/mountinfo; btrfs, whose numbers are
 * anonymous, through its devices in /sys/fs/btrfs. Mounts that another one covers are left out, and
 * so are read-only filesystems, which change nothing. A filesystem on a loop device whose backing
 * file lies on a volume counts as lying on that volume.
 *
 * Threads: none of its own.
 */
#pragma once

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/disk/device.h"
#include "base/error.h"

struct agent_mount {
    char mount_point[PATH_MAX];
    char type[32];
    uint32_t major, minor; /* of the device that it is on */
    int fd;                /* the mount point, O_RDONLY | O_DIRECTORY */
};

struct agent_mounts {
    struct agent_mount *mounts; /* owned, in mount order */
    size_t count;
};

int agent_mounts_find(const struct agent_device *devices, size_t device_count,
                      struct agent_mounts *mounts, struct blx_error *err);
void agent_mounts_done(struct agent_mounts *mounts);

/* syncfs() on each; the first error is returned, the others are tried all the same. */
int agent_mounts_sync(const struct agent_mounts *mounts, struct blx_error *err);
