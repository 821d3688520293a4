/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a driver above a bio-based disk may hand it the bios that were queued to its own device
 * (bpf/tracker.bpf.c). The kernel traces no queueing of such a bio to our disk, and only some
 * drivers trace that they hand it on. So if a device that is none of dm's stands on the disk or one
 * of its partitions, the programs follow the clones that our disk's driver makes, too. dm makes
 * clones of its own, of which each is traced.
 *
 * Threads: any; nothing is kept.
 */
#pragma once

#include <stdbool.h>

#include "agent/disk/device.h"

bool agent_is_handed_bios(const struct agent_device *device);
