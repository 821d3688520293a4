/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration file of a server that has just joined: what its agent needs to start without a
 * flag.
 *
 * Threads: any. Waits for the disk.
 */
#pragma once

#include <stddef.h>

#include "base/error.h"

struct blx_agent_settings {
    const char *id, *dispatcher_addr; /* NULL: not written */
    const char *credentials;          /* NULL: not written; the default serves */
    char *const *devices;
    size_t device_count; /* 0: not written */
};

/*
 * Writes `path`, mode 0644, whole or not at all. Replaces a file that exists. -ENOMEM, or why it
 * cannot be written.
 */
int blx_agent_file_write(const char *path, const struct blx_agent_settings *settings,
                         struct blx_error *err);

/*
 * Adds the settings, which it must not have yet, at the end of the file, whole or not at all: its
 * own text and its mode stay. The same errors, and why it cannot be read.
 */
int blx_agent_file_complete(const char *path, const struct blx_agent_settings *settings,
                            struct blx_error *err);
