/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection of an agent, from its accept to its end: handshake, HELLO, take-over, WELCOME,
 * volumes, then frames and checkpoints until one side ends it. proto/PROTOCOL.md draws the
 * conversation.
 *
 * A session owns its socket, its connection and the agent's writer. Whatever goes wrong in it, by
 * the agent's fault or the disk's, ends this session with an ERROR to the agent and a line in the
 * log, and nothing else (I9).
 */
#pragma once

#include "base/error.h"
#include "dispatcher/dispatcher.h"

/*
 * Starts the thread of the accepted socket `fd`, which is taken over whatever happens. `peer` is
 * its address, for people. Does not block. -EAGAIN where too many connections have not said yet who
 * they are; -ESHUTDOWN.
 */
int dispatcher_session_start(struct dispatcher *dispatcher, int fd, const char *peer,
                             struct blx_error *err);
