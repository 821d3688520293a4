/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/trimmed.h"

#include <stdlib.h>
#include <string.h>

#include "agent/disk/freespace.h"
#include "agent/disk/mounts.h"
#include "base/bitmap.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/units.h"

enum {
    SECTOR_BYTES = 512,
    EXTENTS = 16 * 1024, /* more are read: marks in that many pieces come from writes */
    LEAST_MIB = 64,      /* less is read faster than it is found out */
};

static const uint64_t least_bytes = LEAST_MIB * UINT64_C(1024) * 1024;

/* The blocks that were claimed to be judged. */
struct claim {
    struct blx_extent extents[EXTENTS];
    uint32_t count;
    uint64_t *wanted; /* owned; without the free blocks */
    uint64_t dropped_blocks;
};

static void claim_done(struct claim *claim)
{
    free(claim->wanted);
    free(claim);
}

/* Whether so much was discarded since the last time, and is still marked. */
static bool is_worth_it(struct agent_volume *volume)
{
    uint64_t sectors = 0;
    if (volume->ledger.head->rescan_active ||
        agent_device_read_discarded_sectors(&volume->device, &sectors) < 0 ||
        (sectors - volume->discarded_sectors) * SECTOR_BYTES < least_bytes ||
        agent_volume_count_marked(volume) << volume->block_shift < least_bytes)
        return false;
    volume->discarded_sectors = sectors;
    return true;
}

static void claim_marked(struct agent_volume *volume, struct claim *claim)
{
    uint64_t cursor = 0;
    uint32_t got = 1;
    while (got > 0 && claim->count < EXTENTS) {
        got = agent_volume_claim(volume, AGENT_CLAIM_ALL, &cursor, UINT32_MAX,
                                 EXTENTS - claim->count, claim->extents + claim->count);
        claim->count += got;
    }
}

/* The blocks of one extent that are alike: free ones are done with, others are marked again. */
static void settle_extent(struct agent_volume *volume, struct claim *claim,
                          struct blx_extent extent)
{
    uint64_t end = extent.start_block + extent.block_count;
    for (uint64_t at = extent.start_block, next; at < end; at = next) {
        bool wanted = blx_bitmap_test(claim->wanted, at);
        for (next = at + 1; next < end && blx_bitmap_test(claim->wanted, next) == wanted; next++)
            ;
        struct blx_extent run = {at, next - at};
        if (wanted) {
            agent_volume_requeue(volume, &run, 1);
        } else {
            agent_volume_clear_acked(volume, &run, 1);
            claim->dropped_blocks += next - at;
        }
    }
}

/* Leaves in `wanted` what is not free for good. */
static int find_free(struct agent *agent, const struct agent_volume *volume, uint64_t *wanted,
                     struct blx_error *err)
{
    struct agent_mounts mounts = {0};
    uint64_t skipped = 0;
    int rc = agent_mounts_find(agent->devices, agent->volume_count, &mounts, err);
    if (rc == 0)
        rc = agent_freespace_exclude(&volume->device, &mounts, volume->block_shift, wanted,
                                     &skipped, err);
    if (rc == 0 && skipped > 0)
        rc = agent_mounts_sync(&mounts, err);
    agent_mounts_done(&mounts);
    return rc;
}

static void forget_of_volume(struct agent *agent, struct agent_volume *volume)
{
    struct blx_error why = {0};
    size_t bytes = blx_bitmap_words(volume->blocks) * sizeof(uint64_t);
    struct claim *claim = calloc(1, sizeof(*claim));
    if (claim == NULL)
        return;
    claim->wanted = malloc(bytes);
    if (claim->wanted != NULL) {
        memset(claim->wanted, 0xff, bytes);
        claim_marked(volume, claim);
        if (find_free(agent, volume, claim->wanted, &why) < 0) {
            blx_log_warning("'%s': discarded free space is read: %s", volume->device.path,
                            why.message);
            memset(claim->wanted, 0xff, bytes);
        }
        for (uint32_t i = 0; i < claim->count; i++)
            settle_extent(volume, claim, claim->extents[i]);
    }
    char size[BLX_UNIT_TEXT_BYTES];
    if (claim->dropped_blocks > 0)
        blx_log_info("'%s': %s that were discarded and are free need not be read",
                     volume->device.path,
                     blx_size_format(claim->dropped_blocks << volume->block_shift, size));
    claim_done(claim);
}

void agent_forget_trimmed(struct agent *agent)
{
    for (size_t i = 0; agent->config->skip_free_space && i < agent->volume_count; i++) {
        if (!is_worth_it(&agent->volumes[i]))
            continue;
        blx_watchdog_turn(&agent->watchdog, 0);
        forget_of_volume(agent, &agent->volumes[i]);
    }
}
