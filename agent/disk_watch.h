/*
 * Notices disks that come and go: the kernel's events of block devices, and a look now and then for
 * what they may not tell. Where the disks are others than those of the last blx_lineup_refresh(),
 * the running session is asked to end, so that the next one has them.
 *
 * Threads: one of its own; start and stop are the main thread's.
 */
#pragma once

#include "agent/agent.h"

struct blx_disk_watch;

/* Does nothing (`watch` becomes NULL) where every device is named by its path. */
int blx_disk_watch_start(struct blx_agent *agent, struct blx_disk_watch **watch,
                         struct blx_error *err);

/* NULL is allowed. */
void blx_disk_watch_stop(struct blx_disk_watch *watch);
