/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notices disks that come and go: the kernel makes and removes their nodes in /dev, which inotify
 * tells; a look each ten seconds finds the rest, such as another medium or size. (Netlink would
 * tell that, too, but would be one more kind of socket for a daemon with root's rights.) Where the
 * disks are others than those of the last agent_lineup_refresh(), patterns' or named ones, or one
 * that it could not open can be opened now, the running session is asked to end, so that the next
 * one has them.
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
