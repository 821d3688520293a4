/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a mount shows: a folder for each checkpoint, and in it a file for each volume and for each
 * partition of a volume.
 *
 *     MOUNTPOINT/latest            a link to the newest checkpoint
 *     MOUNTPOINT/TIMESTAMP/vda.img
 *     MOUNTPOINT/TIMESTAMP/vda1.img ...
 *
 * The list of checkpoints is the store's at the moment. A checkpoint is opened when somebody looks
 * into its folder, and stays open as long as it is used; of those that are not, the last few stay.
 * An open checkpoint is held, as by a restore.
 *
 * Threads: any. Opening a checkpoint blocks those that want the same one.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "crypt/keyring.h"
#include "store/view/overlay.h"
#include "store/checkpoint/manifest.h"
#include "store/store.h"
#include "store/view/sweep.h"
#include "store/view/view.h"

enum {
    MOUNT_FILE_NAME_BYTES = 96,
    MOUNT_MAX_FILES = 4096 /* of a checkpoint */
};

struct mount_tree;

struct mount_tree_config {
    struct blx_agent_store agent;   /* borrowed */
    const struct blx_keyring *keys; /* borrowed */
    blx_timestamp only;             /* the one checkpoint that is shown; 0: all */
    struct blx_overlay *overlay;    /* owned from then on; NULL: read-only. Needs `only` */
    size_t cache_bytes;
};

/* -ENOMEM. */
int mount_tree_new(const struct mount_tree_config *config, struct mount_tree **tree,
                   struct blx_error *err);

/* Nobody uses it any more. NULL is allowed. */
void mount_tree_free(struct mount_tree *tree);

struct mount_checkpoint;

/* A part of a volume, or all of it. Constant. */
struct mount_file {
    char name[MOUNT_FILE_NAME_BYTES];
    uint32_t volume;
    uint64_t offset_bytes; /* in the volume */
    uint64_t bytes;
};

/* The timestamps that are shown, oldest first; the caller frees the array. */
int mount_tree_list(struct mount_tree *tree, blx_timestamp **timestamps, size_t *count,
                    struct blx_error *err);

/* The newest of them; 0: there is none. */
blx_timestamp mount_tree_latest(struct mount_tree *tree);

/* The checkpoint, whose number stays the same as long as the tree is there. -ENOENT. */
int mount_tree_find(struct mount_tree *tree, blx_timestamp timestamp, uint64_t *number);
struct mount_checkpoint *mount_tree_at(struct mount_tree *tree, uint64_t number);

blx_timestamp mount_checkpoint_timestamp(const struct mount_checkpoint *checkpoint);

/* Opens it, unless it is open, and keeps it so until _put(). Without `err` the reason for a failure
 * is logged, and the error is one for whoever reads a file. */
int mount_checkpoint_get(struct mount_checkpoint *checkpoint, struct blx_error *err);
void mount_checkpoint_put(struct mount_checkpoint *checkpoint);

/* Its files, which were known since it was opened for the first time; 0 before. */
size_t mount_checkpoint_count(const struct mount_checkpoint *checkpoint);
const struct mount_file *mount_checkpoint_file(const struct mount_checkpoint *checkpoint,
                                               size_t at);

/* For whoever opens a file of an open checkpoint: how far it reads on. NULL: it cannot be had, and
 * reads do without. */
struct blx_sweep *mount_file_new_sweep(struct mount_checkpoint *checkpoint,
                                       const struct mount_file *file);

/* Of an open checkpoint. 0 or -errno: -EIO for what is damaged. The range lies in the file. */
int mount_file_read(struct mount_checkpoint *checkpoint, const struct mount_file *file,
                    struct blx_sweep *sweep, void *buffer, size_t bytes, uint64_t offset_bytes);
int mount_file_write(struct mount_checkpoint *checkpoint, const struct mount_file *file,
                     const void *buffer, size_t bytes, uint64_t offset_bytes);
int mount_file_find_extent(struct mount_checkpoint *checkpoint, const struct mount_file *file,
                           uint64_t offset_bytes, struct blx_view_extent *extent);
void mount_file_read_ahead(struct mount_checkpoint *checkpoint, const struct mount_file *file,
                           uint64_t bytes, uint64_t offset_bytes);

/* Makes durable what was written. 0 or -errno. */
int mount_tree_sync(struct mount_tree *tree);

/* Closes checkpoints that nobody has used since `since_ns` of CLOCK_MONOTONIC. */
void mount_tree_close_idle(struct mount_tree *tree, uint64_t since_ns);
