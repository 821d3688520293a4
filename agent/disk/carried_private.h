/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a block device lies on the volumes, and how deep: 0 on a volume itself, 1 in a file of a
 * filesystem on a volume (a loop device), and so on. Loop devices are asked for their file, which
 * needs no path; btrfs is asked for its members, since its own number is made up.
 *
 * Threads: none of its own. Other processes look at what may hang (patience.h): a file on a dead
 * network filesystem costs some seconds, and is an error then.
 */
#pragma once

#include "agent/disk/mounts.h"

/* How long a path may take to be looked up. Nothing is read from a disk for that, as a rule. */
uint64_t agent_mounts_patience_ms(void);

/* The depth; -ENODEV: it does not lie there; other errors: nobody knows. */
int agent_carried(const struct agent_device *devices, size_t count, uint32_t major, uint32_t minor);

/* The same for the btrfs that `fd` lies on. */
int agent_carried_btrfs(const struct agent_device *devices, size_t count, int fd);

/* The block devices of the btrfs that `fd` lies on; none if it is no btrfs. */
int agent_carried_list_btrfs(int fd, struct agent_devno *parts, size_t *count);

/* The members that a folder /sys/fs/btrfs/UUID/devices names, AGENT_MOUNT_PARTS of them at most. */
int agent_carried_list_members(const char *folder, struct agent_devno *parts, size_t *count);

/* Opens without a trace in the access times, if the rights suffice for that. */
int agent_open_quietly(const char *path, int flags);
