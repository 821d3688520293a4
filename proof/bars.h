/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a caged program (cage.h) may do, set by the process that becomes it.
 *
 * Threads: the process has one.
 */
#pragma once

#include <stdint.h>

/*
 * Becomes nobody if it is root; it ends with its parent; bounds of memory and processor time; the
 * host's programs and libraries alone can be opened; few calls are allowed, and of these reads and
 * writes are asked about. *notify_fd answers them. There is no way back. -EOPNOTSUPP without
 * Landlock, if it is not root.
 */
int proof_bars_close(uint64_t cpu_seconds, int *notify_fd);
