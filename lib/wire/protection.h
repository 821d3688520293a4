/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is an agent protected? `blxrep status`, the metrics and on-event share this one judgement.
 *
 * An agent is protected while it is connected and has a checkpoint that is young enough, whole and
 * consistent. "Crash" counts as consistent: it is the state of a disk after a power cut, and the
 * best that `freeze: false` or an EFI partition allow.
 *
 * Threads: all functions are pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "wire/message.h"

/* From good to bad: a worse judgement hides the better ones, and is shown first in a list. */
enum blx_protection {
    BLX_PROTECTED = 0,
    BLX_PROTECTION_FIRST_SYNC,   /* connected, but without its first checkpoint yet */
    BLX_PROTECTION_PAUSED,       /* somebody has paused it, which hides everything else */
    BLX_PROTECTION_REVOKED,      /* somebody has revoked it; its checkpoints stay */
    BLX_PROTECTION_DAMAGED,      /* the last checkpoint lacks blocks that could not be read, or the
                                    next one will; also if a disk is gone */
    BLX_PROTECTION_INCONSISTENT, /* the last checkpoint's consistency is "none" */
    BLX_PROTECTION_LATE,         /* the last checkpoint is older than blx_protection_limit_s() */
    BLX_PROTECTION_LOST,         /* not connected for BLX_PROTECTION_AWAY_MS */
};

enum {
    BLX_PROTECTIONS = BLX_PROTECTION_LOST + 1,
    BLX_PROTECTION_AWAY_MS = 60 * 1000, /* a reboot or an upgrade may take that long */
};

enum blx_protection blx_protection_judge(const struct blx_control_agent *agent,
                                         uint64_t now_realtime_ns);

/* "protected", "first-sync", "paused", "revoked", "damaged", "inconsistent", "late", "lost". */
const char *blx_protection_name(enum blx_protection protection);

/* The age after which a checkpoint is late: two periods and a minute. 0: the period is not known,
 * so there is no limit. */
uint64_t blx_protection_limit_s(uint64_t sync_freq_ms);

/* The last checkpoint's age in seconds; 0 if it lies in the future. There must be one. */
uint64_t blx_protection_age_s(const struct blx_control_agent *agent, uint64_t now_realtime_ns);

/* The reason for the judgement, or another fact worth knowing about an agent that is protected; may
 * be "". Returns `text`. */
const char *blx_protection_explain(const struct blx_control_agent *agent, uint64_t now_realtime_ns,
                                   char text[BLX_TEXT_BYTES]);

enum { BLX_NEARLY_FULL_PART = 20 };

/* True while less than a twentieth of the data directory's filesystem is free. */
bool blx_data_is_nearly_full(const struct blx_control_dispatcher *dispatcher);
