/* SPDX-License-Identifier: Apache-2.0 */
#include "base/limiter.h"

void blx_limiter_set(struct blx_limiter *limiter, const struct blx_bandwidth *limit)
{
    limiter->limit = *limit;
}

void blx_limiter_set_policy(struct blx_limiter *limiter, const struct blx_bandwidth *limit)
{
    limiter->policy = *limit;
}

static uint64_t rate_at(const struct blx_limiter *limiter, const struct tm *when)
{
    uint64_t own = blx_bandwidth_at(&limiter->limit, when, NULL);
    uint64_t policy = blx_bandwidth_at(&limiter->policy, when, NULL);
    if (own == 0 || policy == 0)
        return own + policy;
    return own < policy ? own : policy;
}

/* Adds the tokens for the time since the last look, at the rate of that look. */
static void fill(struct blx_limiter *limiter, uint64_t now_ns)
{
    double rate = (double)limiter->bytes_per_second;
    double most = rate * BLX_LIMITER_BURST_MS / 1000;
    limiter->tokens += rate * (double)(now_ns - limiter->filled_ns) / 1e9;
    if (limiter->tokens > most)
        limiter->tokens = most;
    limiter->filled_ns = now_ns;
}

uint64_t blx_limiter_get_wait_ns(struct blx_limiter *limiter, uint64_t now_ns,
                                 const struct tm *when)
{
    fill(limiter, now_ns);
    limiter->bytes_per_second = rate_at(limiter, when);
    if (limiter->bytes_per_second == 0)
        limiter->tokens = 0;
    if (limiter->tokens >= 0)
        return 0;
    return (uint64_t)(-limiter->tokens / (double)limiter->bytes_per_second * 1e9) + 1;
}

void blx_limiter_take(struct blx_limiter *limiter, uint64_t bytes)
{
    if (limiter->bytes_per_second != 0)
        limiter->tokens -= (double)bytes;
}
