/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/track/sleep.h"

#include <time.h>

#include "agent/disk/sysfs.h"
#include "base/clock.h"

/* The clocks of a machine that is awake stay together but for their rounding. */
static const uint64_t awake_ns = BLX_NS_PER_S / 2;

void agent_sleep_compare(struct agent_sleep *sleep, uint64_t least_ns, uint64_t most_ns,
                         uint64_t suspends)
{
    bool slept = sleep->knows && least_ns > sleep->asleep_ns + awake_ns;
    bool is_suspend = suspends != UINT64_MAX && suspends != sleep->suspends;
    if (slept && !is_suspend)
        sleep->hibernations++;
    *sleep = (struct agent_sleep){.knows = true,
                                  .asleep_ns = most_ns,
                                  .suspends = suspends,
                                  .hibernations = sleep->hibernations};
}

static uint64_t read_ns(clockid_t clock)
{
    struct timespec now = {0};
    clock_gettime(clock, &now);
    return blx_ns_from_timespec(&now);
}

void agent_sleep_look(struct agent_sleep *sleep)
{
    uint64_t suspends = UINT64_MAX;
    const uint64_t before_ns = read_ns(CLOCK_MONOTONIC), boot_ns = read_ns(CLOCK_BOOTTIME);
    const uint64_t after_ns = read_ns(CLOCK_MONOTONIC);
    if (agent_sysfs_read_number(&suspends, "/sys/power/suspend_stats/success") < 0)
        suspends = UINT64_MAX;
    agent_sleep_compare(sleep, boot_ns > after_ns ? boot_ns - after_ns : 0,
                        boot_ns > before_ns ? boot_ns - before_ns : 0, suspends);
}
