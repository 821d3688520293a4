/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's key, and that encryption does not end because a line of the configuration is missing.
 *
 * An agent that has agreed with a dispatcher on sending encrypted frames leaves a mark beside its
 * credentials, FILE.encrypted. As long as the mark is there the agent does not start without a key.
 * `encryption-key: "none"` says that everything is to be sent in the clear from now on, and removes
 * the mark.
 *
 * Threads: the main thread's. Blocks on the disk.
 */
#pragma once

#include "agent/agent.h"

/* Reads the key that the configuration names, if it does, and logs its id. -ENOKEY if there is none
 * and the mark says that there was one. */
int agent_encryption_load(struct agent *agent, struct blx_error *err);

/* Leaves the mark, if the agent has a key. A mark that cannot be left is logged. */
void agent_encryption_note(const struct agent *agent);
