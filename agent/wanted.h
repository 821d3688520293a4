/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The blocks of a volume that a full pass or a rescan wants: every block. If the user lets the
 * agent skip free space, the blocks that a mounted filesystem calls free are left out
 * (disk/freespace.h).
 *
 * Threads: the main thread's, which is the control thread in a session. Blocks for a syncfs.
 */
#pragma once

#include <stdint.h>

#include "agent/agent.h"

/* A new bitmap, which the caller frees. -ENOMEM. */
int agent_find_wanted(struct agent *agent, struct agent_volume *volume, uint64_t **wanted,
                      struct blx_error *err);

/* A full pass begins: marks every block that is wanted. -ENOMEM. */
int agent_mark_wanted(struct agent *agent, struct agent_volume *volume, const char *reason,
                      struct blx_error *err);
