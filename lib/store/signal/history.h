/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an agent's newest checkpoints changed: the file agents/ID/changes, a row for each of the
 * last BLX_HISTORY_ROWS that were measured. A checkpoint is judged against its own agent's history.
 *
 * Each row has its own checksum and is written in the oldest one's place, without a sync. A row
 * that a power cut tore, or that was lost, is missing; nothing else depends on it.
 *
 * Threads: one writer for an agent, its session. Waits for the disk.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/timestamp.h"
#include "store/signal/change.h"
#include "store/store.h"

enum { BLX_HISTORY_ROWS = 64 };

struct blx_history_row {
    blx_timestamp checkpoint;
    bool suspicious; /* as it was judged then */
    struct blx_change change;
};

struct blx_history {
    struct blx_history_row rows[BLX_HISTORY_ROWS]; /* the oldest first */
    size_t count;
};

/* No file, and rows that are damaged: these are not there. The disk's errors. */
int blx_history_read(struct blx_agent_store agent, struct blx_history *history,
                     struct blx_error *err);

/* Adds the row; if there is one of that checkpoint it is replaced. */
int blx_history_add(struct blx_agent_store agent, const struct blx_history_row *row,
                    struct blx_error *err);
