/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of an agent's store: its newest checkpoint, and each volume's highest segment. A writer
 * leaves it for the agent's next one, which then looks only at the segments after the checkpoint
 * and lists no folder: the cost of a session's opening does not grow with the history.
 *
 * It is only a memory; the store is the truth. A tail is good as long as the process that made it
 * holds the store's lock and nobody else has written checkpoints of the agent. A writer without one
 * lists the folders.
 *
 * Threads: one at a time. Does not block.
 */
#pragma once

#include <stdint.h>

#include "base/name.h"
#include "base/timestamp.h"

struct blx_volume_tail {
    char name[BLX_NAME_BYTES];
    uint32_t highest_segment; /* no sealed segment has a higher number; 0: there is none */
};

struct blx_agent_tail {
    blx_timestamp last_timestamp; /* of the newest checkpoint; 0: there is none */
    uint32_t volume_count;
    struct blx_volume_tail volumes[]; /* of the session */
};

/* The volume's, or NULL. `tail` may be NULL. */
const struct blx_volume_tail *blx_agent_tail_find(const struct blx_agent_tail *tail,
                                                  const char *volume);
