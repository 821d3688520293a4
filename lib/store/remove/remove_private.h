/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the parts of a removal: remove.c locks and removes whole folders, remove_volume.c takes
 * a volume out of the manifests, remove_uncommitted.c frees a volume of what no checkpoint has.
 * Private to lib/store.
 */
#pragma once

#include "store/prune/prune_agent_private.h"
#include "store/remove/remove.h"

struct blx_removal {
    const struct blx_remove_request *request;
    struct blx_remove_report *report;
    struct blx_prune_agent agent; /* with the lock, and for a part of the agent all manifests */
};

/* Adds what the files of a folder and below take. */
int blx_removal_measure(struct blx_removal *removal, const char *path, struct blx_error *err);

/* -EPERM if the checkpoint is pinned and not named. Counts it in the report otherwise. */
int blx_removal_hurt(struct blx_removal *removal, blx_timestamp checkpoint, struct blx_error *err);

/* Counts the checkpoints that have the volume. */
int blx_removal_look_at_volume(struct blx_removal *removal, struct blx_error *err);

/* Takes the volume out of every manifest, the newest first, and removes its folder. The chains are
 * locked. */
int blx_removal_take_volume(struct blx_removal *removal, struct blx_error *err);

/* Counts what no checkpoint has of the volume. */
int blx_removal_look_at_rest(struct blx_removal *removal, const char *volume,
                             struct blx_error *err);

/* Removes it: with its folder, if no checkpoint has the volume at all. */
int blx_removal_take_rest(struct blx_removal *removal, const char *volume, struct blx_error *err);
