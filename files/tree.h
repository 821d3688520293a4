/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One filesystem, read-only. It comes from a server that may have been broken into, so whatever
 * implements this ends for every content: each call reads a bounded number of blocks, and names,
 * sizes and links are only what the filesystem says.
 *
 * Threads: one.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "files/records.h"

struct files_tree;

/* A file of a tree. A tree uses what it needs of it: libext2fs the number, the kernel the path. */
struct files_node {
    uint64_t number;  /* of its inode */
    const char *path; /* from the tree's root, which is ""; borrowed */
};

/* Less than 0 ends the call with it. */
typedef int files_visit_name(void *arg, const char *name, size_t length, uint64_t number);
typedef int files_visit_attribute(void *arg, const struct files_attribute *attribute);
typedef int files_visit_segment(void *arg, uint64_t offset_bytes, uint64_t bytes);

/* Each returns 0 or -errno, and says then what failed, without the file's name. */
struct files_tree_kind {
    int (*look)(struct files_tree *tree, struct files_node node, struct files_stat *stat,
                struct blx_error *err);
    /* Names as they are stored: they may hold anything. "." and ".." are left out. */
    int (*list)(struct files_tree *tree, struct files_node folder, files_visit_name *visit,
                void *arg, struct blx_error *err);
    int (*read_link)(struct files_tree *tree, struct files_node node, char target[FILES_PATH_BYTES],
                     struct blx_error *err);
    int (*list_attributes)(struct files_tree *tree, struct files_node node,
                           files_visit_attribute *visit, void *arg, struct blx_error *err);
    /* The parts that are no holes, ascending and within the size. */
    int (*map)(struct files_tree *tree, struct files_node node, files_visit_segment *visit,
               void *arg, struct blx_error *err);
    /* Of a file that was mapped last. Holes are zeros. */
    int (*read)(struct files_tree *tree, struct files_node node, void *buffer, size_t bytes,
                uint64_t offset_bytes, struct blx_error *err);
    void (*close)(struct files_tree *tree);
    /* Where on the disk the data lies that is no hole, in any order; of a folder, too. NULL: the
     * tree does not know. */
    int (*locate)(struct files_tree *tree, struct files_node node, files_visit_segment *visit,
                  void *arg, struct blx_error *err);
};

struct files_tree {
    const struct files_tree_kind *kind;
    uint64_t root;      /* its number */
    const char *caveat; /* what people should know of its content; NULL: nothing */
};
