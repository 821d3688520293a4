/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control loop: connects to the dispatcher and, while the session lives, sends blocks that have
 * gone quiet, runs rescans, and takes the checkpoints that are asked for.
 *
 * Threads: the agent's main thread, which is the session's control thread meanwhile.
 */
#pragma once

#include "agent/agent.h"
#include "base/error.h"

/* How far a session came. One that stored nothing may have ended for the store's sake, and the next
 * one would, too. */
enum agent_session_use {
    AGENT_SESSION_NONE,   /* no handshake */
    AGENT_SESSION_BEGAN,  /* the handshake was done */
    AGENT_SESSION_STORED, /* the dispatcher acknowledged something as durable */
};

/*
 * Connects, shakes hands, and works until the connection ends, the agent stops, or a device
 * changes. Returns the reason. 0: the agent is stopping. -ESTALE: a device was resized, replaced or
 * is gone. -ERESTART: connect again at once. Others: the connection's end. `use` is written
 * in any case.
 */
int agent_control_run(struct agent *agent, enum agent_session_use *use, struct blx_error *err);
