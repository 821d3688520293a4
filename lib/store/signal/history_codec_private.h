/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a row of the history, and of the figures of a change; STORE.md explains them.
 * Private to lib/store.
 *
 * Threads: pure.
 */
#pragma once

#include <stdbool.h>

#include "store/layout_private.h"
#include "store/signal/history.h"

void blx_change_encode(const struct blx_change *change, blx_le64 figures[BLX_CHANGE_FIGURES]);
void blx_change_decode(const blx_le64 figures[BLX_CHANGE_FIGURES], struct blx_change *change);

void blx_history_row_encode(const struct blx_history_row *row, struct blx_history_row_disk *disk);

/* False if the bytes are no sound row. `disk` is changed for a moment. */
bool blx_history_row_decode(struct blx_history_row_disk *disk, struct blx_history_row *row);
