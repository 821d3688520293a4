/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The accept loop: every accepted socket becomes a session (session.h). Nothing else happens in
 * this thread, so that a flood of connections costs descriptors, up to a limit, and no waiting.
 *
 * Threads: main()'s.
 */
#pragma once

#include "dispatcher/dispatcher.h"

/*
 * Accepts from `listen_fd` until `stop_fd` (a signalfd, or anything else) is readable. Returns 0
 * then; a negative errno where poll() itself fails. Neither descriptor is closed.
 */
int dispatcher_server_run(struct dispatcher *dispatcher, int listen_fd, int stop_fd,
                          struct blx_error *err);
