/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The result of a verification (verify.h): damaged files, and the checkpoints that each damage
 * hurts.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bitmap.h"
#include "base/name.h"
#include "base/timestamp.h"

enum blx_damage_scope {
    BLX_DAMAGE_COMMITTED,   /* it belongs to a checkpoint; which ones it hurts, `checkpoints` says:
                               perhaps none any more */
    BLX_DAMAGE_UNCOMMITTED, /* no checkpoint that can be read names the segment */
    BLX_DAMAGE_STATE        /* a volume's state file: the next session begins with a full pass */
};

enum { BLX_DAMAGE_CAUSE_BYTES = 512 };

struct blx_damage {
    char agent_id[BLX_NAME_BYTES];
    char volume[BLX_NAME_BYTES]; /* "": a checkpoint's manifest */
    char *file;                  /* owned; below the data directory */
    uint64_t offset_bytes,
        bytes; /* within the file; 0 bytes: it is not there, or cannot be opened */
    char cause[BLX_DAMAGE_CAUSE_BYTES];
    enum blx_damage_scope scope;
    unsigned block_shift;
    struct blx_extent
        *extents; /* owned; the volume's blocks whose data lay there, as far as an index tells */
    size_t extent_count;
    blx_timestamp *checkpoints; /* owned; that are hurt, oldest first */
    size_t checkpoint_count;
};

struct blx_hurt {
    char agent_id[BLX_NAME_BYTES];
    blx_timestamp checkpoint;
    bool newest; /* of its agent: the next checkpoint would be hurt as well */
};

struct blx_verify_report {
    uint64_t agents, checkpoints, segments, frames;
    uint64_t checked_bytes;
    uint64_t torn_bytes; /* after the last whole frame of open segments: of running sessions, or of
                            a crash */
    struct blx_damage
        *damages; /* owned; by agent, manifests first, then by volume, file and offset */
    size_t damage_count;
    struct blx_hurt *hurt; /* owned; every checkpoint that some damage hurts, once, in order */
    size_t hurt_count;
    struct blx_hurt *unreadable; /* owned; the checkpoints that lack blocks which their agents could
                                    not read: no damage of the store, and not in `hurt` for it */
    size_t unreadable_count;
};

void blx_verify_report_done(struct blx_verify_report *report);

/* True if the agent's next checkpoint would be hurt as well: the newest one is hurt, or data that
 * belongs to no checkpoint yet is damaged. A rescan heals that. */
bool blx_verify_report_hurts_next(const struct blx_verify_report *report, const char *agent_id);
