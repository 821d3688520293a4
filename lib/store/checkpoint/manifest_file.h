/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A checkpoint's manifest as a file: DIR/agents/ID/checkpoints/TIMESTAMP. Its rename into place is
 * the commit (I10); `show` reads manifests and nothing else (I11).
 *
 * A manifest is replaced only by one that says the same about its checkpoint's content: when an
 * older checkpoint is removed, its successor takes over the segments that it needs (prune.h).
 *
 * Threads: readers of one manifest need no lock; a reader that follows a chain shares
 * BLX_LOCK_CHAINS (agent_lock.h).
 */
#pragma once

#include <limits.h>
#include <stddef.h>

#include "base/error.h"
#include "base/timestamp.h"
#include "store/checkpoint/manifest.h"
#include "store/store.h"

/* DIR/agents/ID/checkpoints; the ID is checked. */
int blx_manifest_dir(struct blx_agent_store agent, char path[PATH_MAX], struct blx_error *err);

/* DIR/agents/ID/checkpoints/TIMESTAMP */
int blx_manifest_path(struct blx_agent_store agent, blx_timestamp timestamp, char path[PATH_MAX],
                      struct blx_error *err);

/*
 * Durable first, visible second. -EEXIST if the timestamp is taken; -EINVAL for a manifest that
 * blx_manifest_read() would refuse. An error in the very last step (the directory's fsync) leaves
 * open whether the checkpoint exists; the next reader finds out.
 */
int blx_manifest_write(struct blx_agent_store agent, const struct blx_manifest *manifest,
                       struct blx_error *err);

/* The same in place of the one that is there. After an error it is the old one or the new one. */
int blx_manifest_replace(struct blx_agent_store agent, const struct blx_manifest *manifest,
                         struct blx_error *err);

/* -ENOENT if there is no such checkpoint; -EBADMSG if the file is damaged. Free with
 * blx_manifest_done(). */
int blx_manifest_read(struct blx_agent_store agent, blx_timestamp timestamp,
                      struct blx_manifest *manifest, struct blx_error *err);

/* The timestamps of an agent's checkpoints within [first, last], oldest first; the caller frees the
 * array. Unknown agent: -ENOENT, named. */
int blx_manifest_list(struct blx_agent_store agent, blx_timestamp first, blx_timestamp last,
                      blx_timestamp **timestamps, size_t *count, struct blx_error *err);

/*
 * Reads these checkpoints, many at once, and calls visit() for each in the given order and in the
 * caller's thread: with a manifest that is gone after the call, or with NULL and the reason why it
 * cannot be read. One that was deleted meanwhile is passed over. If visit() returns less than 0 it
 * fills `err`, and the call ends with that. Threads of the call's own read; -ENOMEM.
 */
int blx_manifest_each(struct blx_agent_store agent, const blx_timestamp *timestamps, size_t count,
                      int (*visit)(void *arg, const struct blx_manifest *manifest,
                                   const struct blx_error *damage, struct blx_error *err),
                      void *arg, struct blx_error *err);

/* The newest checkpoint, 0 if there is none yet. */
int blx_manifest_latest(struct blx_agent_store agent, blx_timestamp *timestamp,
                        struct blx_error *err);

/*
 * "latest", 14 digits, or 12 digits if only one checkpoint has that minute. Errors: unknown
 * agent, no checkpoint yet, unknown timestamp (with the nearest ones), ambiguous (lists them).
 */
int blx_manifest_resolve(struct blx_agent_store agent, const char *text, blx_timestamp *timestamp,
                         struct blx_error *err);
