/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The accept loop: every accepted socket becomes a session (session/session.h). Nothing else
 * happens in this thread, so a flood of connections costs descriptors, up to a limit, but no
 * waiting.
 *
 * Threads: main()'s.
 */
#pragma once

#include "dispatcher/dispatcher.h"

/*
 * Accepts from `listen_fd` until `stop_fd` (a signalfd, or anything else) is readable. Returns 0
 * then, or a negative errno if poll() itself fails. Neither descriptor is closed.
 */
int dispatcher_server_run(struct dispatcher *dispatcher, int listen_fd, int stop_fd,
                          struct blx_error *err);
