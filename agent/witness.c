#include "agent/witness.h"

#include <time.h>

/* Between the tracepoint and the statistics lie some hundred nanoseconds of one CPU; virtual ones
 * may be taken away in the middle. */
static const struct timespec a_moment = {.tv_nsec = 1000 * 1000};

/* By how much the lead has fallen at least. */
static uint64_t fallen_by(int64_t known_sectors, uint64_t copy_sectors, uint64_t kernel_sectors)
{
    int64_t lead = (int64_t)(copy_sectors - kernel_sectors);
    return lead < known_sectors ? (uint64_t)(known_sectors - lead) : 0;
}

void blx_witness_compare(struct blx_witness *witness, const struct blx_witness_look *before,
                         uint64_t kernel_sectors, const struct blx_witness_look *after)
{
    /* One copy that has seen everything is enough: it has marked everything. */
    uint64_t unseen = UINT64_MAX;
    for (unsigned i = 0; i < BLX_TRACKER_COPIES; i++) {
        if (!witness->leads[i].known || after->skipped[i] != witness->leads[i].skipped)
            continue;
        uint64_t fallen = fallen_by(witness->leads[i].sectors, after->sectors[i], kernel_sectors);
        unseen = fallen < unseen ? fallen : unseen;
    }
    bool lost = unseen != UINT64_MAX && unseen > 0;
    if (lost)
        witness->unseen_sectors += unseen; /* before the lead forgets it: we may die in between */
    for (unsigned i = 0; i < BLX_TRACKER_COPIES; i++) {
        int64_t lead = (int64_t)(before->sectors[i] - kernel_sectors);
        bool same = witness->leads[i].known && before->skipped[i] == witness->leads[i].skipped;
        if (!lost && same && lead < witness->leads[i].sectors)
            continue;
        witness->leads[i].sectors = lead;
        witness->leads[i].skipped = before->skipped[i];
        witness->leads[i].known = true;
    }
}

int blx_witness_ask(struct blx_witness *witness, const struct blx_tracker *tracker,
                    const struct blx_device *device, struct blx_error *err)
{
    struct blx_witness_look before, after;
    uint64_t kernel_sectors;
    if (device->bio_based)
        return 0;
    int rc = blx_tracker_skipped(tracker, before.skipped, err);
    if (rc == 0)
        rc = blx_tracker_sectors(tracker, before.sectors, err);
    if (rc < 0)
        return rc;
    nanosleep(&a_moment, NULL);
    /* Where it fails the device is being taken away, and its session ends for that. */
    if (blx_device_written_sectors(device, &kernel_sectors) < 0)
        return 0;
    rc = blx_tracker_sectors(tracker, after.sectors, err);
    if (rc == 0)
        rc = blx_tracker_skipped(tracker, after.skipped, err);
    if (rc == 0)
        blx_witness_compare(witness, &before, kernel_sectors, &after);
    return rc;
}
