/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UEFI's firmware, OVMF, where distributions put it. QEMU brings the BIOS itself.
 *
 * Threads: no shared state. Blocks on the disk.
 */
#pragma once

#include "base/error.h"

struct boot_ovmf {
    int code_fd;      /* -1: none; the caller closes it */
    int variables_fd; /* a copy of its own in memory, to be written; likewise */
};

/* -ENOENT if it is not installed, with the package's name. */
int boot_ovmf_open(struct boot_ovmf *ovmf, struct blx_error *err);
void boot_ovmf_close(struct boot_ovmf *ovmf);
