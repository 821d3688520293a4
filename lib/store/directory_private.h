/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories of the store: made durably, and read. Private to lib/store.
 *
 * Threads: no shared state. All functions wait for the disk and name the directory in `err`.
 */
#pragma once

#include "base/error.h"

/*
 * Makes `path` (its parent exists) if it is missing, and its name durable in any case: a crash
 * between an earlier mkdir and its fsync would otherwise leave a folder that holds durable files
 * and may itself vanish.
 */
int blx_directory_make(const char *path, struct blx_error *err);

/* Calls visit() for every name but "." and ".."; a missing directory has none. Ends at the first
 * that is not 0, which it returns. */
int blx_directory_each(const char *path,
                       int (*visit)(void *arg, const char *name, struct blx_error *err), void *arg,
                       struct blx_error *err);
