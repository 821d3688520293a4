/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which boot loaders a disk seems to have. The disk comes from a server that may have been broken
 * into: nothing of it is run here, and what it says is bounded (store/view/partitions.h).
 *
 * Threads: no shared state. Blocks on whatever read() blocks on.
 */
#pragma once

#include "store/view/partitions.h"

enum boot_loader {
    BOOT_LOADER_NONE = 0,
    /* There is code in the first sector. On a GPT with an EFI system partition that counts only
     * with a partition for the rest of it, because tools leave code there that starts nothing. */
    BOOT_LOADER_BIOS = 1 << 0,
    BOOT_LOADER_UEFI = 1 << 1, /* there is an EFI system partition */
};

/* `loaders` takes bits of enum boot_loader. -errno if the disk cannot be read. */
int boot_loader_find(const struct blx_partitioned *disk, unsigned *loaders);
