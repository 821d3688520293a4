/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limiter: a bucket of tokens that holds a sender of frames to the `bandwidth-limit` of the
 * moment. Only frames count. Heartbeats, digests and the messages about a checkpoint are small and
 * never wait.
 *
 * A frame may go while the bucket is not in debt, and may leave it in debt. So a frame larger than
 * the bucket goes, too, and the mean is the rate. The bucket holds as much as the rate gives in
 * BLX_LIMITER_BURST_MS. The burst after a pause is no more than that and one frame.
 *
 * Threads: none of its own; a lock of the sender's guards it. Nothing here waits.
 */
#pragma once

#include <stdint.h>
#include <time.h>

#include "base/bandwidth.h"

enum { BLX_LIMITER_BURST_MS = 50 };

/* All zero: no limit. */
struct blx_limiter {
    struct blx_bandwidth limit;
    struct blx_bandwidth policy; /* the dispatcher's; the lower rate of the two counts */
    uint64_t bytes_per_second;   /* at the last look; 0: no limit */
    double tokens;               /* bytes; below 0: a debt */
    uint64_t filled_ns;          /* up to when the bucket has been filled */
};

/* Another limit, also while a frame waits. It counts from the next look on, even for an old
 * debt. */
void blx_limiter_set(struct blx_limiter *limiter, const struct blx_bandwidth *limit);
void blx_limiter_set_policy(struct blx_limiter *limiter, const struct blx_bandwidth *limit);

/*
 * How long the next frame has to wait at `now_ns` (CLOCK_MONOTONIC), which is `when` by the wall
 * clock. 0: it may go.
 */
uint64_t blx_limiter_get_wait_ns(struct blx_limiter *limiter, uint64_t now_ns,
                                 const struct tm *when);

/* A frame of `bytes` is sent. */
void blx_limiter_take(struct blx_limiter *limiter, uint64_t bytes);
