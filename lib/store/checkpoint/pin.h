/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pinned checkpoints: an empty file DIR/agents/ID/checkpoints/TIMESTAMP.pinned beside the manifest.
 * No prune removes them, even if asked to.
 *
 * Threads: no shared state. Waits for the disk.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/timestamp.h"
#include "store/store.h"

enum blx_pin { BLX_PIN_OFF, BLX_PIN_ON };

/* Pins the checkpoint or takes the pin off, durably. It may be so already. -ENOENT if there is
 * no such checkpoint. */
int blx_pin_write(struct blx_agent_store agent, blx_timestamp checkpoint, enum blx_pin pin,
                  struct blx_error *err);

/* The same, for a caller that has BLX_LOCK_CHAINS. */
int blx_pin_write_locked(struct blx_agent_store agent, blx_timestamp checkpoint, enum blx_pin pin,
                         struct blx_error *err);

int blx_pin_read(struct blx_agent_store agent, blx_timestamp checkpoint, bool *pinned,
                 struct blx_error *err);

/* All pinned ones, ascending; the caller frees the array. To ask about many. */
int blx_pin_list(struct blx_agent_store agent, blx_timestamp **timestamps, size_t *count,
                 struct blx_error *err);
