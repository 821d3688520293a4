/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a helper process (patience.h) reaches a device. Nobody else opens one, and the agent itself
 * holds no descriptor of any: whoever wants to remove a device-mapper volume, stop an array or
 * detach a loop device finds it free, unless a call is under way or has just been.
 *
 * The descriptor stays open in the helper until AGENT_PATIENCE_REST_MS have passed without another
 * call, since opening and closing a device for each batch costs more than lending it.
 *
 * A node is opened by its name, so it is checked each time: it must be the very device that was
 * found, not another one that has got its number meanwhile. Linux before 5.15 has no number for
 * that (diskseq), and there agent_device_find_change() alone notices another one.
 *
 * Threads: a helper has one.
 */
#pragma once

#include <stdint.h>

#include "wire/message.h"

struct agent_reach {
    char node[BLX_TEXT_BYTES]; /* no link: the name that the kernel gave it */
    uint32_t major, minor;
    uint64_t disk_seq; /* of its disk; 0: the kernel has none */
};

/* A descriptor (I5: O_RDONLY | O_DIRECT) that stays the callee's, or -errno. -ENODEV: it is gone;
 * -ESTALE: another device is there now; -ENXIO, -ENOMEDIUM: it is there, and cannot be opened, as
 * one that the kernel has given up. */
int agent_reach_open(const struct agent_reach *reach);

/* The `rest` of a call that uses it. */
void agent_reach_rest(void);

/* The disk's diskseq, also for one of its partitions; 0: the kernel has none. */
uint64_t agent_reach_read_disk_seq(int fd);
