/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection of an agent, from its accept to its end: handshake, HELLO, take-over, WELCOME,
 * volumes, then frames and checkpoints until one side ends it. proto/PROTOCOL.md draws the
 * conversation.
 *
 * A session owns its socket, its connection and the agent's writer. A fault of the agent or of the
 * disk ends this session, with an ERROR to the agent and a line in the log, and nothing else (I9).
 */
#pragma once

#include "base/error.h"
#include "dispatcher/dispatcher.h"

/*
 * Starts the thread of the accepted socket `fd`, which is taken over in any case. `peer` is its
 * address as text, for people, and `source` what counts as one source. Does not block. -EAGAIN if
 * too many connections have not identified themselves yet; -ESHUTDOWN.
 */
int dispatcher_session_start(struct dispatcher *dispatcher, int fd, const char *peer,
                             uint64_t source, struct blx_error *err);
