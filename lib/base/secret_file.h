/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file that its owner alone may read, and that is there whole or not at all: credentials, keys.
 *
 * It is written under a random name beside `path` and renamed, so that after a crash `path` is what
 * it was or the whole new file. `way_out` says what a person can do where the file exists; NULL:
 * it is replaced.
 *
 * Threads: no shared state. Blocks on the disk.
 */
#pragma once

#include <stddef.h>

#include "base/error.h"

/* Whether blx_secret_file_write() has a chance, before something is spent on it: -EEXIST, or why
 * the folder cannot be written to. */
int blx_secret_file_check(const char *path, const char *way_out, struct blx_error *err);

/* Mode 0600; durable when it returns. -EEXIST. */
int blx_secret_file_write(const char *path, const void *content, size_t bytes, const char *way_out,
                          struct blx_error *err);
