/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kernel that can be booted, and its modules, by libkmod, which knows what a module needs, what
 * else it wants before it, and what the kernel has built in.
 *
 * Threads: one. Blocks on the disk.
 */
#pragma once

#include <limits.h>

#include "base/error.h"

struct files_kernel_modules;

/* The newest kernel below `folder` (NULL: this machine's) that may be read and has its modules, and
 * its image's path. -ENOENT; -EACCES if only others may read them. */
int files_kernel_modules_open(const char *folder, char image[PATH_MAX],
                              struct files_kernel_modules **modules, struct blx_error *err);
void files_kernel_modules_close(struct files_kernel_modules *modules); /* NULL is allowed */

/* Whether the module was visited before, for whatever list. */
enum files_module_turn { FILES_MODULE_FIRST, FILES_MODULE_AGAIN };
typedef int files_visit_module(void *arg, const char *path, enum files_module_turn turn);

/* Visits the files of the named modules, and before each what it needs, in the order in which they
 * are to be loaded. One that the kernel has built in, or has not at all, is passed over. */
int files_kernel_modules_list(struct files_kernel_modules *modules, const char *names,
                              files_visit_module *visit, void *arg, struct blx_error *err);
