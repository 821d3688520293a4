/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much of the store one agent may use, and how much it does. From BLX_QUOTA_NEAR_PERCENT of a
 * limit on people are told; at the limit that agent is refused, and nobody else.
 *
 * Threads: no shared state. Only blx_quota_measure() blocks on the disk.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "store/store.h"

enum blx_quota_kind {
    BLX_QUOTA_BYTES,       /* on the disk, all of the agent's files together */
    BLX_QUOTA_BYTES_A_DAY, /* received since midnight, UTC */
    BLX_QUOTA_VOLUMES,     /* names; of these the limit itself is allowed, and nobody is told */
    BLX_QUOTA_CHECKPOINTS,
    BLX_QUOTA_SEGMENTS, /* files */
    BLX_QUOTA_KINDS,
};

enum { BLX_QUOTA_NEAR_PERCENT = 80, BLX_QUOTA_TEXT_BYTES = 128 };

/* "bytes", "bytes-a-day", ... */
const char *blx_quota_name(enum blx_quota_kind kind);

/* Limits (0: none), or what is used. */
struct blx_quota {
    uint64_t of[BLX_QUOTA_KINDS];
};

bool blx_quota_is_none(const struct blx_quota *limits);

enum blx_quota_state { BLX_QUOTA_FREE, BLX_QUOTA_NEAR, BLX_QUOTA_REACHED };

/* The worst state of all kinds; `text` becomes "bytes: 410 MiB of 512 MiB", or "" if all are free.
 */
enum blx_quota_state blx_quota_judge(const struct blx_quota *limits, const struct blx_quota *used,
                                     char text[BLX_QUOTA_TEXT_BYTES]);

/* What the agent's folder holds; all but BYTES_A_DAY, which stays as it is. Reads every name, which
 * takes some ms for a thousand checkpoints. Zero for an agent that is not known. */
int blx_quota_measure(struct blx_agent_store agent, struct blx_quota *used, struct blx_error *err);
