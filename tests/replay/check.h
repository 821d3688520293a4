/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a store that a power cut left keeps what was promised: each committed checkpoint restores
 * to the bytes it had, each acknowledged frame is there, `verify` finds nothing, the audit log has
 * each line, and the agent goes on to its next checkpoint.
 *
 * Threads: one.
 */
#pragma once

#include "record.h"
#include "site.h"

/* Another test fails if one does not hold. What is checked is used up. */
void check_store(const struct site *site, const char *dir);

/*
 * Announces the volumes, as a session of the agent does, so that the store recovers; and no more.
 * Its calls go through the recorder, which gets a disk for the time; that may be full.
 */
void check_recovery(const struct site *site, const char *dir, struct recorder *recorder);
