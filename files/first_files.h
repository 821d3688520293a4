/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the small virtual machine starts with: a kernel, and an archive with blxrep-files-guest as
 * its first process, the kernel's modules for disks and filesystems, the request, and this host's
 * mdadm and lvm, if it has them. Both are copies in memory, so that QEMU's user needs no right to
 * the kernel, and nothing is left on a disk.
 *
 * Threads: one. Blocks on the disk.
 */
#pragma once

#include <stddef.h>

#include "base/error.h"

struct files_first {
    int kernel_fd, initrd_fd; /* -1: none; owned */
};

/* `kernel_dir` has the kernel and its modules as "/" has them; NULL: this machine's. -ENOENT if
 * there is no kernel with its modules, or no helper; -EACCES if all kernels are for root alone;
 * errors of the disk. */
int files_first_make(const char *kernel_dir, const void *request, size_t request_bytes,
                     struct files_first *first, struct blx_error *err);
void files_first_done(struct files_first *first);
