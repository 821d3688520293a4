/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's tree of files: which filesystem is its root, where the others were mounted, and
 * where a path leads. The server's own /etc/fstab tells it, as far as the checkpoint has the disks.
 * Symbolic links are followed inside of that tree, as the server would have done.
 *
 * Threads: one.
 */
#pragma once

#include <stddef.h>

#include "base/error.h"
#include "files/probe.h"
#include "files/source.h"
#include "files/tree.h"

struct files_places;

/* `device` is what the wanted disks were asked for by, and then the only one of them is the root;
 * NULL: fstab tells the root. Everything is borrowed until files_places_close(). -ENOENT, with what
 * there is, if the root cannot be told or there is no such device; FILES_ONLY_A_KERNEL if it may be
 * among what the source cannot read. */
int files_places_open(struct files_source *source, struct files_probe *probe, const char *device,
                      struct files_places **places, struct blx_error *err);
void files_places_close(struct files_places *places);

struct files_place {
    char path[FILES_PATH_BYTES]; /* on the server, without links on the way; "/" is the root */
    size_t disk;
    struct files_tree *tree;
    struct files_node node; /* its path is a part of `path` */
    struct files_stat stat;
};

/* Where the path leads. A link at its end is the place itself. -ENOENT, -ENOTDIR, -ELOOP; -ENODEV
 * if it lies on a disk that the checkpoint does not have or that cannot be read;
 * FILES_ONLY_A_KERNEL likewise, if a kernel could read it. */
int files_places_find(struct files_places *places, const char *path, struct files_place *place,
                      struct blx_error *err);

/* Calls visit() for the path, or if it has *, ? or [...] and does not exist like this, for each
 * path that matches, by name. -ENOENT if nothing does. */
int files_places_match(struct files_places *places, const char *pattern,
                       int (*visit)(void *arg, const char *path, struct blx_error *err), void *arg,
                       struct blx_error *err);

/* What people call the disk, and what it holds. */
const char *files_places_device(const struct files_places *places, size_t disk);
const char *files_places_filesystem(const struct files_places *places, size_t disk);

/* What was mounted at exactly that path, as fstab or the checkpoint names it; NULL: nothing. */
const char *files_places_mounted_at(const struct files_places *places, const char *path);

/* The names of a folder, sorted. Names that no system allows are left out and counted. */
struct files_names {
    struct files_name {
        char *text; /* owned */
        uint64_t number;
    } * names; /* owned */
    size_t count, strange;
};
void files_names_done(struct files_names *names);
int files_names_read(struct files_tree *tree, struct files_node folder, struct files_names *names,
                     struct blx_error *err);
