/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/track/witness.h"

#include <time.h>

/* Between the tracepoint and the statistics lie some hundred nanoseconds of one CPU; virtual ones
 * may be taken away in the middle. */
static const struct timespec a_moment = {.tv_nsec = 1000 * 1000};

/* A process that completes a request may wait so long for its turn on a busy machine. */
static const struct timespec a_while = {.tv_nsec = 200 * 1000 * 1000};

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

static int64_t lead_of(const struct agent_witness_look *look)
{
    return (int64_t)(look->before_sectors - look->kernel_sectors);
}

int agent_witness_take(struct agent_witness *witness,
                       int (*look)(void *arg, struct agent_witness_look *out,
                                   struct blx_error *err),
                       void *arg, struct blx_error *err)
{
    struct agent_witness_look seen, again;
    int rc = look(arg, &seen, err);
    if (rc == 0 && (!witness->knows || lead_of(&seen) > witness->lead_sectors)) {
        nanosleep(&a_while, NULL);
        rc = look(arg, &again, err);
        if (rc == 0 && lead_of(&again) < lead_of(&seen))
            seen = again;
    }
    if (rc == 0)
        agent_witness_compare(witness, seen.before_sectors, seen.kernel_sectors,
                              seen.after_sectors);
    return rc;
}

struct subject {
    struct agent_tracker *tracker;
    const struct agent_device *device;
};

enum { DEVICE_GONE = 1 };

static int look_at(void *arg, struct agent_witness_look *out, struct blx_error *err)
{
    const struct subject *subject = arg;
    int rc = agent_tracker_read_sectors(subject->tracker, &out->before_sectors, err);
    if (rc < 0)
        return rc;
    nanosleep(&a_moment, NULL);
    /* If it fails the device is being taken away, and the session ends because of that. */
    if (agent_device_read_written_sectors(subject->device, &out->kernel_sectors) < 0)
        return DEVICE_GONE;
    return agent_tracker_read_sectors(subject->tracker, &out->after_sectors, err);
}

int agent_witness_ask(struct agent_witness *witness, struct agent_tracker *tracker,
                      const struct agent_device *device, struct blx_error *err)
{
    struct subject subject = {tracker, device};
    if (device->bio_based)
        return agent_tracker_look(tracker, device, err);
    int rc = agent_witness_take(witness, look_at, &subject, err);
    return rc == DEVICE_GONE ? 0 : rc;
}
