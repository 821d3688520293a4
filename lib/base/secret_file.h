/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file that its owner alone may read, and that exists whole or not at all: credentials, keys.
 *
 * It is written under a random name beside `path` and renamed, so that after a crash `path` is the
 * old file or the whole new one. `way_out` says what a person can do if the file exists already;
 * NULL: it is replaced.
 *
 * Threads: no shared state. Waits for the disk.
 */
#pragma once

#include <stddef.h>

#include "base/error.h"

/* Whether blx_secret_file_write() can succeed, for a caller about to spend something on it: 0,
 * -EEXIST, or the reason why the folder cannot be written to. */
int blx_secret_file_check(const char *path, const char *way_out, struct blx_error *err);

/* Mode 0600; durable when it returns. -EEXIST. */
int blx_secret_file_write(const char *path, const void *content, size_t bytes, const char *way_out,
                          struct blx_error *err);
