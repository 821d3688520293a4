/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's volumes as they should be now. A refresh opens the volumes of disks that have come
 * and ends the tracking of those that have vanished or are left out. If a device was resized or
 * replaced its tracking starts again. The other volumes stay as they are, and are tracked
 * throughout.
 *
 * Threads: the main thread, while no session runs.
 */
#pragma once

#include "agent/agent.h"

/*
 * A disk that cannot be protected becomes one of `refusals`, and is tried again with the next call.
 * It is an error only in two cases: the disk is named and there is no volume at all; or the agent
 * just starts, and the disk is named and there, but wrong (no block device, tracked by another
 * agent). The volumes that are open stay open. Refuses a run directory that lies on one of them.
 */
int agent_lineup_refresh(struct agent *agent, struct blx_error *err);

/* Closes all volumes; tracking goes on. */
void agent_lineup_close(struct agent *agent);
