/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/beat.h"

#include <string.h>
#include <xxhash.h>

uint64_t dispatcher_beat_next_ns(const char *agent_id, uint64_t period_ns, uint64_t after_ns)
{
    uint64_t phase_ns = XXH3_64bits(agent_id, strlen(agent_id)) % period_ns;
    uint64_t into_period_ns = after_ns % period_ns;
    uint64_t start_ns = after_ns - into_period_ns;
    return start_ns + phase_ns + (phase_ns > into_period_ns ? 0 : period_ns);
}

bool dispatcher_beat_is_overdue(blx_timestamp last_time, uint64_t period_ns,
                                uint64_t now_realtime_ns)
{
    if (last_time == 0)
        return true;
    uint64_t last_ns = (uint64_t)blx_timestamp_to_unix(last_time) * 1000000000;
    return now_realtime_ns > last_ns && now_realtime_ns - last_ns >= period_ns;
}
