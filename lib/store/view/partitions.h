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

enum { BLX_MAX_PARTITIONS = 128, BLX_PARTITION_ID_BYTES = 37 };

struct blx_partition {
    unsigned number; /* as the kernel counts: logical ones from 5 on */
    uint64_t offset_bytes, bytes;
    char id[BLX_PARTITION_ID_BYTES];   /* as PARTUUID= names it, in small letters */
    char type[BLX_PARTITION_ID_BYTES]; /* the GPT's, written likewise; of a DOS table "83" */
};

struct blx_partitioned {
    /* 0 or -errno; fills all of `buffer`. */
    int (*read)(void *arg, void *buffer, size_t bytes, uint64_t offset_bytes);
    void *arg;
    uint64_t size_bytes;
};

/* How many there are, ascending by number; 0 without a table. -errno if the disk cannot be read. */
int blx_partitions_find(const struct blx_partitioned *disk,
                        struct blx_partition partitions[BLX_MAX_PARTITIONS]);

/* vda1 of vda, nvme0n1p1 of nvme0n1: as the kernel names the partition of a disk. The disk has a
 * name. */
void blx_partition_name(const char *disk, unsigned number, char *name, size_t bytes);
