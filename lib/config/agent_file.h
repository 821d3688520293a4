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

/*
 * Writes `path`, mode 0644, whole or not at all: the agent's ID, its dispatcher's address, and the
 * devices. Replaces a file that exists. -ENOMEM, or why it cannot be written.
 */
int blx_agent_file_write(const char *path, const char *agent_id, const char *dispatcher_addr,
                         char *const *devices, size_t device_count, struct blx_error *err);
