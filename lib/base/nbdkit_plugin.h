/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where our plugin for nbdkit is (nbd/plugin.c), for whoever starts nbdkit with it.
 *
 * Threads: no shared state.
 */
#pragma once

#include <limits.h>

#include "base/error.h"

/* The path of the plugin: this build tree's, or the installed one, which may be missing. */
int blx_nbdkit_plugin_find(char path[PATH_MAX], struct blx_error *err);

/* -ENOENT, with the package's name, if it cannot be read. */
int blx_nbdkit_plugin_check(const char *path, struct blx_error *err);
