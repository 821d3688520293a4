/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control loop: connects to the dispatcher and, while the session lives, sends blocks that have
 * gone quiet, runs rescans, and takes the checkpoints that are asked for.
 *
 * Threads: the agent's main thread, which is the session's control thread meanwhile.
 */
#pragma once

#include <stdbool.h>

#include "agent/agent.h"
#include "base/error.h"

/*
 * Connects, shakes hands, and works until the connection ends, the agent stops, or a device
 * changes. Returns the reason. 0: the agent is stopping. -ESTALE: a device was resized, replaced or
 * is gone. -ERESTART: connect again at once. Others: the connection's end. `*lived`: whether the
 * handshake was done.
 */
int agent_control_run(struct agent *agent, bool *lived, struct blx_error *err);
