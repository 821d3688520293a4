/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the parts of a prune and a rewrite: prune_agent.c reads the agent's manifests,
 * prune_merge.c puts manifests together, prune_clear.c frees the space, prune_orphans.c removes
 * volumes that no checkpoint has, prune.c does it in order; rewrite.c makes the remaining segments
 * compact. Private to lib/store.
 */
#pragma once

#include "store/agent_lock.h"
#include "store/checkpoint/manifest.h"
#include "store/prune/prune_report.h"

struct blx_prune_checkpoint {
    blx_timestamp timestamp;
    struct blx_manifest manifest;
    size_t parent;   /* its place among the checkpoints; SIZE_MAX: it has none, or it is missing */
    size_t children; /* that are still there */
    bool newest;     /* of the agent, or of a volume: it must stay */
    bool doomed;     /* to be removed */
    bool gone;
};

struct blx_prune_agent {
    struct blx_agent_store store;
    struct blx_agent_lock lock;
    struct blx_prune_checkpoint *checkpoints; /* owned; oldest first */
    size_t count;
    struct blx_prune_report *report;
    bool was_cut_off; /* an earlier prune: the holes that it made may not be durable */
};

/* Makes the names of manifests and segments durable, and reads all manifests. -EBADMSG if one is
 * damaged. Free with _done() in any case. */
int blx_prune_agent_open(struct blx_agent_store agent_store, struct blx_prune_agent *agent,
                         struct blx_error *err);
void blx_prune_agent_done(struct blx_prune_agent *agent);

/* Frees the manifests, so that they can be read again; the locks stay. */
void blx_prune_agent_forget(struct blx_prune_agent *agent);

/* The place of a checkpoint; SIZE_MAX if there is none. */
size_t blx_prune_agent_find(const struct blx_prune_agent *agent, blx_timestamp timestamp);

/*
 * The manifest of checkpoint `keeper` as it must be without the `count` ancestors directly above it
 * (its parent, the parent's parent, ...). Volumes that took something over are marked as clearing.
 * -EBADMSG if the chain is broken.
 */
int blx_prune_merge(const struct blx_prune_agent *agent, size_t keeper, size_t count,
                    struct blx_manifest *merged, struct blx_error *err);

/* Makes holes of the frames that the checkpoint does not need, in the volumes that are marked as
 * clearing, and takes the mark off. */
int blx_prune_clear(struct blx_prune_agent *agent, size_t keeper, struct blx_error *err);

/* Whether another manifest names a segment that the checkpoint names (a prune was cut off between
 * replacing one manifest and removing the other): it may have frames that only that one needs. */
bool blx_prune_is_shared(const struct blx_prune_agent *agent, size_t keeper, const char *volume);

/* Unlinks the committed segments that no manifest names. */
int blx_prune_unlink(struct blx_prune_agent *agent, struct blx_error *err);

/* Removes the folders of volumes that no manifest has and nobody has touched for long. */
int blx_prune_orphans(struct blx_prune_agent *agent, struct blx_error *err);
