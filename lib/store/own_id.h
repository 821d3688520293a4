/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ID of an agent: what its server calls itself, in its configuration and in its certificate.
 * The name is what the dispatcher calls it: its folder DIR/agents/NAME, and --agent=NAME. The two
 * are the same until somebody renames the agent (rename.h). From then on the folder has the ID in
 * the file `id`.
 *
 * The ID never changes, because more hangs on it than a label: certificates, revocations and tokens
 * are made for it, and the keys of the agent's frames and digests are derived from it. So all of
 * that goes by the ID, and everything in the store goes by the name.
 *
 * Threads: no shared state. All functions block on the disk.
 */
#pragma once

#include "base/name.h"
#include "store/store.h"

/* The agent's ID. One without such a file, or without a folder, is called by its ID. -EBADMSG if
 * the file is damaged. */
int blx_own_id_read(struct blx_agent_store agent, char id[BLX_NAME_BYTES], struct blx_error *err);

/*
 * The name of the agent that has this ID. 1 if the store knows it, 0 if it is new here; then the
 * name is the ID. -EEXIST if it is new, and another agent has its ID as a name.
 */
int blx_own_id_find(const struct blx_store *store, const char *id, char name[BLX_NAME_BYTES],
                    struct blx_error *err);

/*
 * The name of the agent that somebody means who says `called`: the agent's name or, if none has it,
 * the ID of a server whose agent was renamed. What nobody is called stays as it is. -EBADMSG as
 * above.
 */
int blx_own_id_resolve(const struct blx_store *store, const char *called, char name[BLX_NAME_BYTES],
                       struct blx_error *err);

/* Writes it into the agent's folder, durably. */
int blx_own_id_write(struct blx_agent_store agent, const char *id, struct blx_error *err);
