/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree (tree.h) as a filesystem, by FUSE's low-level interface.
 *
 * Threads: the session's; blocks until the mount ends.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "mount/tree.h"

struct mount_serve;

struct mount_serve_config {
    const char *mountpoint;
    const char *source; /* what the table of mounts shows (mounts.h) */
    bool writable;
    uint64_t idle_ms; /* it ends after this time without a call */
};

/* Mounts it: from now on calls wait for mount_serve_run(). */
int mount_serve_open(const struct mount_serve_config *config, struct mount_serve **serve,
                     struct blx_error *err);

/* Answers until SIGTERM, SIGINT, SIGHUP, an unmount, or idle_ms without a call. `ready` is called
 * when it answers. The tree is borrowed. */
int mount_serve_run(struct mount_serve *serve, struct mount_tree *tree, void (*ready)(void *arg),
                    void *arg, struct blx_error *err);

/* Unmounts, by the guard (guard.h). NULL is allowed. */
void mount_serve_close(struct mount_serve *serve);
