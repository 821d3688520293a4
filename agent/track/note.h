/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why the tracking of no volume was kept over the last reboot: RUN_DIR/reboot.note, which the boot
 * leaves to the agent if there is no ledger to put it into. It goes with the run directory.
 *
 * Threads: no shared state.
 */
#pragma once

#include "base/error.h"
#include "wire/message.h"

/* The folder must be there. */
int agent_note_write(const char *run_dir, const char *why, struct blx_error *err);

/* "" if there is none. */
void agent_note_read(const char *run_dir, char why[BLX_TEXT_BYTES]);
