/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limiter: a bucket of tokens that holds the sender to the `bandwidth-limit` of the moment.
 * What counts is frames; heartbeats, digests and what is said of a checkpoint are small and never
 * wait.
 *
 * A frame may go while the bucket is not in debt, and may leave it in debt: so a frame larger than
 * the bucket goes, too, and the mean is the rate. The bucket holds what the rate gives in
 * AGENT_LIMITER_BURST_MS, which bounds the burst after a pause to that and one frame.
 *
 * Threads: none of its own; the agent's lock guards it. Nothing here waits.
 */
#pragma once

#include <stdint.h>
#include <time.h>

#include "base/bandwidth.h"

enum { AGENT_LIMITER_BURST_MS = 50 };

/* All zero: no limit. */
struct agent_limiter {
    struct blx_bandwidth limit;
    struct blx_bandwidth policy; /* the dispatcher's: of both the lower rate counts */
    uint64_t bytes_per_second;   /* as at the last look; 0: no limit */
    double tokens;               /* bytes; below 0: a debt */
    uint64_t filled_ns;          /* up to when the bucket has been filled */
};

/* Another limit, also while a frame waits: it counts from the next look on, for a debt, too. */
void agent_limiter_set(struct agent_limiter *limiter, const struct blx_bandwidth *limit);
void agent_limiter_set_policy(struct agent_limiter *limiter, const struct blx_bandwidth *limit);

/*
 * How long the next frame has to wait at `now_ns` (CLOCK_MONOTONIC), when a wall clock says `when`;
 * 0: it may go.
 */
uint64_t agent_limiter_get_wait_ns(struct agent_limiter *limiter, uint64_t now_ns,
                                   const struct tm *when);

/* A frame went. */
void agent_limiter_take(struct agent_limiter *limiter, uint64_t bytes);
