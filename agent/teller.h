/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RUN_DIR/control.sock (wire/control_socket.h), over which `blxrep status` and `blxrep check` ask
 * the agent how it is. To CONTROL_STATUS it answers CONTROL_SELF, CONTROL_AGENT, a CONTROL_DISK for
 * each disk, and CONTROL_DONE. Only root may ask: the folder and the socket are its own.
 *
 * The agent never waits for whoever asks: it has its own thread, which serves one client after the
 * other from a copy (self.h), and lets go of one that does not read.
 *
 * Threads: one. Start and stop are the main thread's.
 */
#pragma once

#include "agent/agent.h"

struct agent_teller;

/* NULL if nobody can be answered: the log says why, and the agent does without. That is so, too, if
 * another agent answers in this run-dir. */
struct agent_teller *agent_teller_start(struct agent *agent);

/* NULL is allowed. Does not wait for a client. */
void agent_teller_stop(struct agent_teller *teller);
