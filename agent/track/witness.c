/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/track/witness.h"

#include <time.h>

/* Between the tracepoint and the statistics lie some hundred nanoseconds of one CPU; virtual ones
 * may be taken away in the middle. */
static const struct timespec a_moment = {.tv_nsec = 1000 * 1000};

void agent_witness_compare(struct agent_witness *witness, uint64_t before_sectors,
                           uint64_t kernel_sectors, uint64_t after_sectors)
{
    int64_t at_least = (int64_t)(before_sectors - kernel_sectors);
    int64_t at_most = (int64_t)(after_sectors - kernel_sectors);
    bool lost = witness->knows && at_most < witness->lead_sectors;
    if (lost) /* before the lead forgets it: we may die in between */
        witness->unseen_sectors += (uint64_t)(witness->lead_sectors - at_most);
    if (lost || !witness->knows || at_least > witness->lead_sectors)
        witness->lead_sectors = at_least;
    witness->knows = true;
}

int agent_witness_ask(struct agent_witness *witness, struct agent_tracker *tracker,
                      const struct agent_device *device, struct blx_error *err)
{
    uint64_t before_sectors, kernel_sectors, after_sectors;
    if (device->bio_based)
        return agent_tracker_look(tracker, device, err);
    int rc = agent_tracker_read_sectors(tracker, &before_sectors, err);
    if (rc < 0)
        return rc;
    nanosleep(&a_moment, NULL);
    /* If it fails the device is being taken away, and the session ends because of that. */
    if (agent_device_read_written_sectors(device, &kernel_sectors) < 0)
        return 0;
    rc = agent_tracker_read_sectors(tracker, &after_sectors, err);
    if (rc == 0)
        agent_witness_compare(witness, before_sectors, kernel_sectors, after_sectors);
    return rc;
}
