/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts the calls of a kind, and says which of them fails: memory.c, sys.c, network.c and
 * openssl.c have one each.
 *
 * Threads: armed and disarmed by one; the calls are counted over all.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

/* All zero: nothing fails. */
struct fault_counter {
    atomic_bool armed;
    bool lasting;
    unsigned allowed;
    atomic_uint calls;
};

/* From now on the call number `after` (from 0) fails; with `for_ever` all after it, too. */
void fault_counter_arm(struct fault_counter *counter, unsigned after, bool for_ever);

/* Back to normal; true if a call has failed. */
bool fault_counter_disarm(struct fault_counter *counter);

/* Counts a call; true if it is to fail, with `code` as errno. */
bool fault_counter_hit(struct fault_counter *counter, int code);
