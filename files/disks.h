/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a server's disk becomes the disks of a source: its partitions, or itself if it has none, by
 * the names that the server gave them.
 *
 * Threads: no shared state. Blocks on whatever read() blocks on.
 */
#pragma once

#include <stdint.h>

#include "files/source.h"
#include "store/view/partitions.h"

/* Where it lies on its disk; `number` 0: it is the disk. */
typedef int files_visit_disk(void *arg, const struct files_disk *disk, unsigned number,
                             uint64_t offset_bytes);

/* `name` is the node's, if the agent named the device by another path. `wanted`: the device that is
 * asked for, which may be the disk with its partitions; NULL: every one. */
struct files_disk_names {
    const char *device, *name, *wanted;
};

/* Visits each; the first failure of visit() ends it. */
int files_disks_find(const struct blx_partitioned *disk, const struct files_disk_names *names,
                     files_visit_disk *visit, void *arg);
