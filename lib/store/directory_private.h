/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories of the store: made durably, and read. Private to lib/store.
 *
 * Threads: no shared state. All functions wait for the disk and name the directory in `err`.
 */
#pragma once

#include <limits.h>
#include <stddef.h>

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

/* "DIR/.NAME.removed" for "DIR/NAME": no name of an agent or a volume begins with a dot, so nobody
 * reads what is moved there. */
int blx_directory_hidden(const char *path, char hidden[PATH_MAX], struct blx_error *err);

/*
 * Removes `path` and all below it: moves it out of the way first, durably. A crash leaves all of
 * it, or a rest that has the hidden name; so the call can be repeated. A missing directory is no
 * error. Follows no link.
 */
int blx_directory_remove(const char *path, struct blx_error *err);

/* Removes all in the directory `path` that has a hidden name, and counts it in `removed`. */
int blx_directory_remove_hidden(const char *path, size_t *removed, struct blx_error *err);
