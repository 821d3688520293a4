/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the tracking over a planned reboot. docs/decisions/reboot.md says why it is done so.
 *
 *     shutdown   the agent has ended, every filesystem is read-only: agent_keep_save() gathers the
 *                marks of all volumes and writes them into the area (area.h)
 *     boot       nothing is writable yet: agent_keep_arm() attaches the trackers, reads the save,
 *                looks for proof (proof.h), makes the save useless, and gives each volume its
 *                ledger. The agent finds trackers and ledgers as after a restart
 *
 * A volume that is not believed gets a tracker, too, and an empty ledger with the reason: the agent
 * compares it with the dispatcher's image. If nothing is known of any volume the reason is in the
 * run directory (note.h).
 *
 * Threads: one, which has called agent_patience_start(). Waits for disks.
 */
#pragma once

#include "agent/reboot/save.h"
#include "base/error.h"

/* `verb`: how the machine goes down. An error is a save that was not written; a volume that cannot
 * be kept is none, and is logged. */
int agent_keep_save(const char *area_path, const char *run_dir, enum agent_save_verb verb,
                    struct blx_error *err);

/* Makes the area's file if it is missing and can be made. An error: the trackers may not have been
 * attached. That nothing was kept is none. */
int agent_keep_arm(const char *area_path, const char *run_dir, struct blx_error *err);
