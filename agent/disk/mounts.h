/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mounted filesystems on the agent's volumes, in mount order. Each is there once (bind mounts
 * are one filesystem), with an open descriptor of its root, so that nothing has to be looked up
 * while it is frozen. They are found through /proc/self/mountinfo; btrfs, whose numbers are
 * anonymous, through its devices in /sys/fs/btrfs. Read-only filesystems, which change nothing, are
 * left out. A filesystem on a loop device whose backing file lies on a volume counts as lying on
 * that volume.
 *
 * A filesystem that cannot be looked at is not taken for absent: it is a doubt, by name. Doubts are
 * a mount point that cannot be opened; one that another mount covers, if its filesystem is mounted
 * nowhere else; a loop device whose file cannot be found; a filesystem that the kernel has mounted
 * and this mount namespace does not show (superblocks_private.h); a filesystem that needs a device
 * that is not among the volumes.
 *
 * Threads: none of its own. Other processes open and flush what may hang (patience.h).
 */
#pragma once

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/disk/device.h"
#include "base/error.h"

struct agent_devno {
    uint32_t major, minor;
};

enum { AGENT_MOUNT_PARTS = 18, AGENT_MOUNT_NAME_BYTES = 240 };

struct agent_mount {
    char mount_point[PATH_MAX];
    char type[32];
    uint32_t major, minor; /* of the device that it is on */
    int fd;                /* the mount point, O_RDONLY, and O_DIRECTORY unless it is a file */
    unsigned depth;        /* 0; n + 1: it lies in a file of a filesystem with depth n */
    struct agent_devno parts[AGENT_MOUNT_PARTS]; /* its block devices; a btrfs may have several */
    size_t part_count;
    char *options; /* owned; the filesystem's own, as mountinfo gives them; may be NULL */
};

struct agent_mount_doubt {
    uint32_t major, minor;     /* of the filesystem */
    uint64_t mount_id;         /* 0: it is not about a mount point */
    char text[BLX_TEXT_BYTES]; /* "'/srv/db' cannot be looked at: Operation not permitted" */
};

struct agent_mounts {
    struct agent_mount *mounts; /* owned, by depth, then in mount order */
    size_t count;
    struct agent_mount_doubt *doubts; /* owned */
    size_t doubt_count;
};

int agent_mounts_find(const struct agent_device *devices, size_t device_count,
                      struct agent_mounts *mounts, struct blx_error *err);
void agent_mounts_done(struct agent_mounts *mounts);

/* The filesystem's name for calls into it (patience.h), cut if the path is very long. */
void agent_mount_name(const char *mount_point, char name[AGENT_MOUNT_NAME_BYTES]);

/* syncfs(). 0, -ETIME: it does not answer, or -errno. */
int agent_mount_sync(const struct agent_mount *mount);

/* The same on each; the first error is returned, the others are tried all the same. */
int agent_mounts_sync(const struct agent_mounts *mounts, struct blx_error *err);
