/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/track/witness.h"

#include <time.h>

/* Between the tracepoint and the statistics lie some hundred nanoseconds of one CPU; virtual ones
 * may be taken away in the middle. */
static const struct timespec a_moment = {.tv_nsec = 1000 * 1000};

void blx_witness_compare(struct blx_witness *witness, uint64_t before_sectors,
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

int blx_witness_ask(struct blx_witness *witness, const struct blx_tracker *tracker,
                    const struct blx_device *device, struct blx_error *err)
{
    uint64_t before_sectors, kernel_sectors, after_sectors;
    if (device->bio_based)
        return 0;
    int rc = blx_tracker_sectors(tracker, &before_sectors, err);
    if (rc < 0)
        return rc;
    nanosleep(&a_moment, NULL);
    /* Where it fails the device is being taken away, and its session ends for that. */
    if (blx_device_written_sectors(device, &kernel_sectors) < 0)
        return 0;
    rc = blx_tracker_sectors(tracker, &after_sectors, err);
    if (rc == 0)
        blx_witness_compare(witness, before_sectors, kernel_sectors, after_sectors);
    return rc;
}
