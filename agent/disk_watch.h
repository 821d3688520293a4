/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notices disks that come and go. The kernel makes and removes their nodes in /dev, which inotify
 * reports; a look every ten seconds finds the rest, such as another medium or size. (Netlink would
 * report that, too, but is one more kind of socket for a daemon with root's rights.) The running
 * session is asked to end if the disks differ from those of the last agent_lineup_refresh(), or if
 * one that it could not open can be opened now. The next session then has them.
 *
 * Threads: one of its own; start and stop are the main thread's.
 */
#pragma once

#include "agent/agent.h"

struct agent_disk_watch;

int agent_disk_watch_start(struct agent *agent, struct agent_disk_watch **watch,
                           struct blx_error *err);

/* NULL is allowed. */
void agent_disk_watch_stop(struct agent_disk_watch *watch);
