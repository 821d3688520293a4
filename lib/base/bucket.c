/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bucket.h"

bool blx_bucket_take(struct blx_bucket *bucket, const struct blx_bucket_size *size, uint64_t now_ns,
                     unsigned *held_back)
{
    if (bucket->taken == 0)
        bucket->since_ns = now_ns;
    uint64_t elapsed_ns = now_ns > bucket->since_ns ? now_ns - bucket->since_ns : 0;
    uint64_t forgotten = elapsed_ns / size->period_ns;
    bucket->since_ns += forgotten * size->period_ns;
    bucket->taken = forgotten < bucket->taken ? bucket->taken - (unsigned)forgotten : 0;
    if (bucket->taken >= size->burst) {
        bucket->held_back++;
        return false;
    }
    bucket->taken++;
    *held_back = bucket->held_back;
    bucket->held_back = 0;
    return true;
}
