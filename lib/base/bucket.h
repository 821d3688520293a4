/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A token bucket: a number of something at once, and one more in every period. The dispatcher's
 * roster has one for each kind of thing that an agent may ask for too often, so that it counts over
 * all sessions; an agent has some for what its dispatcher orders.
 *
 * Threads: the owner's lock guards it. Times are blx_clock_ns().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct blx_bucket {
    unsigned taken;     /* that count still */
    unsigned held_back; /* that were refused since the last one that was not */
    uint64_t since_ns;  /* when the last of the taken was forgotten, or the first came */
};

struct blx_bucket_size {
    unsigned burst;
    uint64_t period_ns;
};

/* Takes one, unless `burst` are taken already. If so, `held_back` becomes how many were refused
 * before it. All zero is an empty one. A time before the last one counts as that: whoever looked at
 * the clock first may come second. */
bool blx_bucket_take(struct blx_bucket *bucket, const struct blx_bucket_size *size, uint64_t now_ns,
                     unsigned *held_back);
