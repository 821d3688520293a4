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
 * A device that is named and cannot be protected is an error: the volumes that are open stay open.
 * One that a pattern stands for is left out with a warning, and tried again with the next call. No
 * volume at all is no error. Refuses a run directory that lies on one of them.
 */
int blx_lineup_refresh(struct blx_agent *agent, struct blx_error *err);

/* Closes all volumes; tracking goes on. */
void blx_lineup_close(struct blx_agent *agent);
