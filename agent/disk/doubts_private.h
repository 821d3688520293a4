/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Doubts about filesystems: what could not be looked at, by name. Two files find them: mounts.c
 * asks the mount namespace, superblocks.c asks the kernel past it.
 */
#pragma once

#include "agent/disk/mounts.h"

/* Adds a doubt; `about` says which filesystem, `format` why. */
void agent_mounts_doubt(struct agent_mounts *mounts, const struct agent_mount_doubt *about,
                        const char *format, ...) __attribute__((format(printf, 3, 4)));
