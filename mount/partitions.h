/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The partitions of a disk, read from its GPT or its DOS partition table. The disk comes from a
 * server that may have been broken into: whatever it says is bounded, a chain of logical partitions
 * that turns in a circle ends, and what reaches beyond the disk is left out.
 *
 * Threads: no shared state. Blocks on whatever read() blocks on.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { MOUNT_MAX_PARTITIONS = 128 };

struct mount_partition {
    unsigned number; /* as the kernel counts: logical ones from 5 on */
    uint64_t offset_bytes, bytes;
};

struct mount_disk {
    /* 0 or -errno; fills all of `buffer`. */
    int (*read)(void *arg, void *buffer, size_t bytes, uint64_t offset_bytes);
    void *arg;
    uint64_t size_bytes;
};

/* How many there are, ascending by number; 0 without a table. -errno if the disk cannot be read. */
int mount_partitions_find(const struct mount_disk *disk,
                          struct mount_partition partitions[MOUNT_MAX_PARTITIONS]);
