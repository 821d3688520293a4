/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A filesystem that the kernel has mounted, as a tree. Nothing outside of its folder is reached,
 * wherever its links point.
 *
 * Threads: one.
 */
#pragma once

#include "base/error.h"
#include "files/tree.h"

int files_folder_tree_open(const char *path, struct files_tree **tree, struct blx_error *err);
