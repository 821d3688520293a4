/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process may do that reads a hostile filesystem: compute, ask for blocks and tell what it
 * found, through the descriptors that it has. It opens nothing, connects to nothing, starts
 * nothing, and touches no other process. A forbidden call ends it (SIGSYS).
 *
 * Threads: the process has one.
 */
#pragma once

#include <stddef.h>

#include "base/error.h"

/*
 * Keeps `count` descriptors, which become 3, 4, ... in this order; the others are closed, and the
 * standard ones lead nowhere. If it was root it becomes nobody. It ends with its parent. There is
 * no way back.
 */
int files_jail_enter(const int *fds, size_t count, struct blx_error *err);
