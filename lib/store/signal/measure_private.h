/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Measures a checkpoint: goes through the segments that its manifest names, and asks each volume's
 * map (ratio_map_private.h) what they replace.
 *
 * Private to lib/store. Threads: one at a time for an agent, after its commit. Waits for the disk.
 */
#pragma once

#include "base/error.h"
#include "store/checkpoint/manifest.h"
#include "store/signal/change.h"
#include "store/store.h"

/*
 * `manifest` is the agent's newest checkpoint. A volume whose map does not show the checkpoint
 * before gets one from its chain first, as long as that chain can be read; with a chain of many
 * segments it takes as long as to open it. -ENOENT if the checkpoint was removed meanwhile;
 * -EBADMSG if a segment is damaged; the disk's errors; -ENOMEM. `change` is written only on
 * success.
 */
int blx_change_measure(struct blx_agent_store agent, const struct blx_manifest *manifest,
                       struct blx_change *change, struct blx_error *err);
