/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a disk is at rest: an instant at which none of the writes that were given to it before is
 * still under way, as far as the kernel's own counts show.
 *
 * /sys/block/DISK/inflight counts writes if the disk's driver counts them. Whether it does is seen
 * by reading from the disk: queue/iostats says little, for dm of Linux 6.1 counts with 0 there, and
 * md linear does not with 1. A driver that does not count hands its bios on at once, so that the
 * disks below know, if they are plain ones. If it was told not to count (iostats is 0) it may be
 * any driver, and nobody knows.
 *
 * Threads: any; nothing is kept.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/disk/device.h"

/* Whose counts show that the disk is at rest. In the tracker's pinned state: the numbers stay. */
enum agent_idle_view {
    AGENT_IDLE_UNKNOWN, /* nobody's */
    AGENT_IDLE_OWN,     /* its own */
    AGENT_IDLE_BELOW,   /* those of the disks below it */
};

/* Reads one block of the device. */
enum agent_idle_view agent_idle_choose_view(const struct agent_device *device);

/* False also if it cannot be known. */
bool agent_is_idle(const struct agent_device *device, enum agent_idle_view view);
