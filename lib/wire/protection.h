/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is an agent protected? One judgement for all who ask: `blxrep status`, the metrics, on-event.
 *
 * An agent is protected while it has a checkpoint that is young enough, whole and consistent, and
 * is connected. "Crash" counts as consistent: it is what a disk holds after a power cut, and all
 * that `freeze: false` or an EFI partition allow.
 *
 * Threads: all functions are pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "wire/message.h"

/* From good to bad: what is worse is shown first, and hides what is better. */
enum blx_protection {
    BLX_PROTECTED = 0,
    BLX_PROTECTION_FIRST_SYNC,   /* connected, and its first checkpoint is not there yet */
    BLX_PROTECTION_PAUSED,       /* somebody has paused it: whatever else it may be */
    BLX_PROTECTION_REVOKED,      /* somebody has revoked it: what it has stored stays */
    BLX_PROTECTION_DAMAGED,      /* the last checkpoint lacks what could not be read, or the next
                                    one will; a disk that is gone included */
    BLX_PROTECTION_INCONSISTENT, /* the last checkpoint's consistency is "none" */
    BLX_PROTECTION_LATE,         /* the last checkpoint is older than blx_protection_limit_s() */
    BLX_PROTECTION_LOST,         /* not connected for BLX_PROTECTION_AWAY_MS */
};

enum {
    BLX_PROTECTIONS = BLX_PROTECTION_LOST + 1,
    BLX_PROTECTION_AWAY_MS = 60 * 1000, /* a reboot or an upgrade may take as long */
};

enum blx_protection blx_protection_judge(const struct blx_control_agent *agent,
                                         uint64_t now_realtime_ns);

/* "protected", "first-sync", "paused", "revoked", "damaged", "inconsistent", "late", "lost". */
const char *blx_protection_name(enum blx_protection protection);

/* How old a checkpoint may become before it is late: two periods and a minute. 0: no limit, as the
 * period is not known. */
uint64_t blx_protection_limit_s(uint64_t sync_freq_ms);

/* The last checkpoint's age in seconds; 0 where it lies in the future. Only where there is one. */
uint64_t blx_protection_age_s(const struct blx_control_agent *agent, uint64_t now_realtime_ns);

/* Why it is judged so, or what else is worth knowing of an agent that is protected; may become "".
 * Returns `text`. */
const char *blx_protection_explain(const struct blx_control_agent *agent, uint64_t now_realtime_ns,
                                   char text[BLX_TEXT_BYTES]);

/* True while less than a twentieth of the data directory's filesystem is free. */
bool blx_data_is_nearly_full(const struct blx_control_dispatcher *dispatcher);
