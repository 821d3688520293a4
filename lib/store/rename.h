/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gives an agent another name (own_id.h): its folder moves, with all checkpoints, marks and what is
 * not committed yet. Its server keeps its ID, certificate and keys, and goes on as if nothing had
 * happened: with the next increment.
 *
 * The folder gets the file `id` first, durably, and is renamed then. A crash before the rename
 * leaves a file that says what is so anyway; after it everything is done.
 *
 * Threads: one renaming of an agent at a time, in any number of processes; others get -EBUSY.
 * Blocks on the disk.
 */
#pragma once

#include "store/store.h"

/*
 * -ENOENT for an agent that is not known, -EEXIST if the name is taken: by another agent's folder,
 * or as its ID. -EBUSY if the agent is still connected after `wait_ms`, or if a restore, a mount or
 * a prune is under way.
 */
int blx_rename(struct blx_agent_store agent, const char *to, unsigned wait_ms,
               struct blx_error *err);

/* The same checks of the two names, and nothing else. */
int blx_rename_check(struct blx_agent_store agent, const char *to, struct blx_error *err);
