/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The libraries that one of this host's programs needs, by ldd.
 *
 * Threads: any. Blocks until ldd has ended.
 */
#pragma once

#include "base/error.h"

typedef int files_visit_library(void *arg, const char *path);

/* Visits each, and the loader. A program without libraries has none. -ENOENT if there is no ldd. */
int files_needed_libraries(const char *program, files_visit_library *visit, void *arg,
                           struct blx_error *err);
