/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's volumes as they should be now: opens those of disks that have come, ends the tracking
 * of those that have vanished or are left out, and begins anew where a device is not what it was.
 * The others stay as they are, and tracked throughout.
 *
 * Threads: the main thread, while no session runs.
 */
#pragma once

#include "agent/agent.h"

/*
 * A disk that cannot be protected becomes one of `refusals`, and is tried again with the next call.
 * It is an error where it is named and none of the others is a volume either, or where the agent
 * just starts and the disk is there, but wrong (no block device, tracked by another agent): the
 * volumes that are open stay open. Otherwise no volume at all is no error. Refuses a run directory
 * that lies on one of them.
 */
int agent_lineup_refresh(struct agent *agent, struct blx_error *err);

/* Closes all volumes; tracking goes on. */
void agent_lineup_close(struct agent *agent);
