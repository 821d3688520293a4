/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The secret that the digests of an agent's blocks are made with, unless its own encryption key
 * makes them: DIR/agents/ID/digest-key, mode 0600. It is the
 * dispatcher's, random, and made when it is first needed. Agents get it over TLS and keep it in
 * memory alone, so nobody who can merely write to a protected disk knows it.
 *
 * If it is lost or damaged another one takes its place. Digests of the one before then count as
 * missing: a rescan unpacks the frames and makes them.
 *
 * Threads: no shared state; the session of an agent is the one that makes it. Waits for the disk.
 */
#pragma once

#include "base/error.h"
#include "crypt/key.h"
#include "crypt/volume_key.h"
#include "store/store.h"

/* DIR/agents/ID/digest-key. */
int blx_digest_key_path(struct blx_agent_store agent, char path[PATH_MAX], struct blx_error *err);

/* The agent's secret, which is made if there is none. The agent's folder must be there. */
int blx_digest_key_take(struct blx_agent_store agent, struct blx_key *key, struct blx_error *err);

/* The keys of a volume's digests. 1, or 0 if the agent has no secret; -EBADMSG if it is damaged;
 * -ENOMEM, -EIO, and the disk's errors. To be wiped. */
int blx_digest_key_find(struct blx_agent_store agent, const char *volume,
                        struct blx_volume_key *key, struct blx_error *err);
