/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pinned checkpoints: a file DIR/agents/ID/checkpoints/TIMESTAMP.pinned beside the manifest. No
 * prune removes them, even if asked to. The file is empty if a person made it. An automatic pin
 * (store/signal/signal.h) has its reason in it, and an agent has one of these at most: what an
 * agent sends must not fill the store with pins.
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

enum { BLX_PIN_REASON_BYTES = 160 };

enum blx_pin_result {
    BLX_PIN_MADE,
    BLX_PIN_THERE, /* an automatic pin of the agent, or a pin of the checkpoint, is there already */
};

/* Pins the checkpoint automatically, durably, with a reason that is not empty. -ENOENT if there is
 * no such checkpoint. A person who pins it takes the pin over, and unpinning removes it. */
int blx_pin_write_automatic(struct blx_agent_store agent, blx_timestamp checkpoint,
                            const char *reason, enum blx_pin_result *result, struct blx_error *err);

/* The checkpoint that is pinned automatically, 0 if none is. `reason` may be NULL. */
int blx_pin_find_automatic(struct blx_agent_store agent, blx_timestamp *checkpoint,
                           char reason[BLX_PIN_REASON_BYTES], struct blx_error *err);

/* All pinned ones, ascending; the caller frees the array. To ask about many. */
int blx_pin_list(struct blx_agent_store agent, blx_timestamp **timestamps, size_t *count,
                 struct blx_error *err);
