/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that lie beside a manifest and tell something about its checkpoint:
 * DIR/agents/ID/checkpoints/TIMESTAMP.SUFFIX. The suffix has its dot. Private to lib/store.
 *
 * Threads: no shared state. Waits for the disk.
 */
#pragma once

#include <limits.h>
#include <stddef.h>

#include "base/error.h"
#include "base/timestamp.h"
#include "store/store.h"

/* The path of the file. */
int blx_beside_path(struct blx_agent_store agent, blx_timestamp checkpoint, const char *suffix,
                    char path[PATH_MAX], struct blx_error *err);

/* -ENOENT, named, if there is no such checkpoint. */
int blx_beside_check(struct blx_agent_store agent, blx_timestamp checkpoint, struct blx_error *err);

/* The checkpoints that have such a file, ascending; the caller frees the array. */
int blx_beside_list(struct blx_agent_store agent, const char *suffix, blx_timestamp **timestamps,
                    size_t *count, struct blx_error *err);

/* Removes the file, which may be missing. The caller makes the folder durable. */
int blx_beside_remove(struct blx_agent_store agent, blx_timestamp checkpoint, const char *suffix,
                      struct blx_error *err);
