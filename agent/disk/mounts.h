/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mounted filesystems on the agent's volumes, in mount order, each once (bind mounts are one
 * filesystem), each with an open descriptor of its root, so that nothing has to be looked up while
 * it is frozen. Found through /proc/self/mountinfo; btrfs, whose numbers are anonymous, through its
 * devices in /sys/fs/btrfs. Mounts that another one covers, and read-only filesystems, are left out
 * (a read-only one changes nothing). Filesystems in a file on a loop device whose backing file lies
 * on a volume count as lying on the volume.
 *
 * Threads: none of its own.
 */
#pragma once

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/disk/device.h"
#include "base/error.h"

struct blx_mount {
    char mount_point[PATH_MAX];
    char type[32];
    uint32_t major, minor; /* of the device that it is on */
    int fd;                /* the mount point, O_RDONLY | O_DIRECTORY */
};

struct blx_mounts {
    struct blx_mount *mounts; /* owned, in mount order */
    size_t count;
};

int blx_mounts_find(const struct blx_device *devices, size_t device_count,
                    struct blx_mounts *mounts, struct blx_error *err);
void blx_mounts_done(struct blx_mounts *mounts);

/* syncfs() on each; the first error is returned, the others are tried all the same. */
int blx_mounts_sync(const struct blx_mounts *mounts, struct blx_error *err);
