/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disks that a checkpoint should have and lacks: they were to be protected when it was taken,
 * and could not be. A restore of the others alone would look whole.
 *
 * The agent names them in the checkpoint's note, "without '/dev/X', ...".
 *
 * Threads: no shared state.
 */
#pragma once

#include <stddef.h>

#include "base/error.h"
#include "base/timestamp.h"
#include "store/checkpoint/manifest.h"
#include "store/store.h"

struct blx_missing {
    size_t count;
    char devices[BLX_MAX_VOLUMES][BLX_TEXT_BYTES]; /* as the agent names them */
};

/* A device whose name a full note cuts off is listed as far as it goes. */
void blx_missing_list(const struct blx_manifest *manifest, struct blx_missing *missing);

/* The newest checkpoint that has the device, 0 if none has it. Damaged ones are passed over. Reads
 * manifests, the newest first; blocks on the disk. */
int blx_missing_find(struct blx_agent_store agent, const char *device, blx_timestamp *checkpoint,
                     struct blx_error *err);
