/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two files that look for filesystems have in common: mounts.c asks the mount namespace,
 * superblocks.c asks the kernel past it.
 */
#pragma once

#include "agent/disk/mounts.h"

/* Adds a doubt; `about` says which filesystem, `format` why. */
void agent_mounts_doubt(struct agent_mounts *mounts, const struct agent_mount_doubt *about,
                        const char *format, ...) __attribute__((format(printf, 3, 4)));

/* How deep major:minor lies on the devices (0: not in a file); -ENODEV: not at all. Other errors:
 * nobody knows. */
int agent_mounts_carried(const struct agent_device *devices, size_t count, uint32_t major,
                         uint32_t minor);
