/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filesystems by the host's kernel, for every kind of them, and for servers that are trusted: what
 * a hostile filesystem does to a kernel is done to this host.
 *
 * The process is alone in namespaces of its own. There blxrep-mount shows the checkpoint's disks,
 * and the kernel mounts them over loop devices: read-only, without devices, programs and set-uid
 * rights, and without replaying a journal. If the process ends, however that comes, blxrep-mount,
 * the mounts and the loop devices end with it.
 *
 * Threads: one.
 */
#pragma once

#include "base/error.h"
#include "config/config.h"
#include "files/source.h"

/*
 * Forks into the namespaces, as root: 0 in the child, which does the work and ends by _exit(); in
 * the caller the child's exit code plus 1, after it has ended.
 */
int files_kernel_enter(struct blx_error *err);

/* In the child: has the disks of `blocks` shown below `folder`, an empty one. */
int files_kernel_start(const struct blx_config *config, struct files_source *blocks,
                       const char *folder, struct files_source **source, struct blx_error *err);
