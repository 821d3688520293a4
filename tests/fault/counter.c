/* SPDX-License-Identifier: Apache-2.0 */
#include "counter.h"

#include <errno.h>

void fault_counter_arm(struct fault_counter *counter, unsigned after, bool for_ever)
{
    counter->allowed = after;
    counter->lasting = for_ever;
    atomic_store(&counter->calls, 0);
    atomic_store(&counter->armed, true);
}

bool fault_counter_disarm(struct fault_counter *counter)
{
    return atomic_exchange(&counter->armed, false) &&
           atomic_load(&counter->calls) > counter->allowed;
}

bool fault_counter_hit(struct fault_counter *counter, int code)
{
    if (!atomic_load(&counter->armed))
        return false;
    unsigned call = atomic_fetch_add(&counter->calls, 1);
    if (counter->lasting ? call < counter->allowed : call != counter->allowed)
        return false;
    errno = code;
    return true;
}
