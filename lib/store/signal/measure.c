/* SPDX-License-Identifier: Apache-2.0 */
#include "store/signal/measure_private.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "store/agent_lock.h"
#include "store/damage_private.h"
#include "store/signal/ratio_map_private.h"
#include "store/view/chain_private.h"

/* One volume of the checkpoint. */
struct measure {
    struct blx_agent_store agent;
    const struct blx_manifest_volume *volume;
    char dir[PATH_MAX];
    struct blx_ratio_map map;
    struct blx_change *change;
};

static uint64_t end_block(const struct measure *measure)
{
    return blx_blocks_of_bytes(measure->volume->size_bytes, measure->volume->block_shift);
}

static int visit(void *arg, const struct blx_chain_segment *segment,
                 struct blx_segment_reader *reader, const struct blx_error *cause,
                 struct blx_error *err)
{
    struct measure *measure = arg;
    (void)segment;
    if (reader == NULL) {
        int code = blx_missing_is_damage(cause->code);
        /* What is remembered is a memory: older shares stay. */
        return blx_is_bad_content(code) ? 0 : blx_error_copy(err, code, cause);
    }
    int rc = blx_ratio_map_apply(&measure->map, reader, BLX_RATIO_FROM_INDEX, end_block(measure),
                                 NULL, err);
    blx_segment_reader_close(reader);
    return rc;
}

/* The map as of the checkpoint before: the oldest segment first, because newer ones replace. */
static int remember(struct measure *measure, blx_timestamp before, struct blx_error *err)
{
    BLX_CLEANUP(blx_chain_done) struct blx_chain chain = {0};
    int rc = blx_ratio_map_reset(&measure->map, err);
    if (rc == 0)
        rc = blx_chain_walk(measure->agent, before, measure->volume->name, BLX_CHAIN_WHOLE, &chain,
                            err);
    for (size_t i = 0; rc == 0 && i < chain.segment_count / 2; i++) {
        struct blx_chain_segment kept = chain.segments[i];
        chain.segments[i] = chain.segments[chain.segment_count - 1 - i];
        chain.segments[chain.segment_count - 1 - i] = kept;
    }
    if (rc == 0 && chain.block_shift != measure->volume->block_shift)
        rc = blx_error_set(err, -EBADMSG, "the volume has another block size there");
    return rc == 0 ? blx_opening_run(measure->dir, chain.segments, chain.segment_count, visit,
                                     measure, err)
                   : rc;
}

static int apply(struct measure *measure, uint32_t number, struct blx_error *err)
{
    struct blx_segment_reader *reader;
    bool base = measure->volume->base;
    int rc = blx_segment_reader_open(measure->dir, number, &reader, err);
    if (rc < 0)
        return blx_missing_is_damage(rc);
    rc = blx_ratio_map_apply(&measure->map, reader,
                             base ? BLX_RATIO_FROM_INDEX : BLX_RATIO_FROM_HEADERS,
                             end_block(measure), base ? NULL : measure->change, err);
    blx_segment_reader_close(reader);
    return rc;
}

static int measure_volume(struct measure *measure, const struct blx_manifest *manifest,
                          struct blx_error *err)
{
    const struct blx_manifest_volume *volume = measure->volume;
    int rc = 0;
    if (volume->base)
        rc = blx_ratio_map_reset(&measure->map, err);
    else if (measure->map.checkpoint != manifest->parent)
        rc = remember(measure, manifest->parent, err);
    if (rc == 0 && !volume->base) {
        measure->change->data_bytes += measure->map.data_blocks << volume->block_shift;
        measure->change->hard_bytes += measure->map.hard_blocks << volume->block_shift;
    }
    for (uint32_t i = 0; rc == 0 && i < volume->segment_count; i++)
        rc = apply(measure, volume->segments[i], err);
    return rc == 0 ? blx_ratio_map_stamp(&measure->map, manifest->timestamp, err) : rc;
}

/* A disk that is away: its map goes along, if it has one. */
static int carry_volume(struct measure *measure, const struct blx_manifest *manifest,
                        struct blx_error *err)
{
    if (measure->map.checkpoint == 0 || measure->map.checkpoint != manifest->parent)
        return 0;
    return blx_ratio_map_stamp(&measure->map, manifest->timestamp, err);
}

int blx_change_measure(struct blx_agent_store agent, const struct blx_manifest *manifest,
                       struct blx_change *change, struct blx_error *err)
{
    struct blx_change found = {0};
    BLX_CLEANUP(blx_agent_lock_close) struct blx_agent_lock lock = {.fd = -1};
    int rc = blx_agent_lock_begin(agent, manifest->timestamp, &lock, err);
    for (uint32_t i = 0; rc == 0 && i < blx_manifest_count_entries(manifest); i++) {
        struct measure measure = {
            .agent = agent, .volume = &manifest->volumes[i], .map = {.fd = -1}, .change = &found};
        rc = blx_agent_store_volume_path(agent, measure.volume->name, measure.dir, err);
        if (rc == 0)
            rc = blx_ratio_map_open(measure.dir, measure.volume->block_shift, &measure.map, err);
        if (rc == 0)
            rc = i < manifest->volume_count ? measure_volume(&measure, manifest, err)
                                            : carry_volume(&measure, manifest, err);
        blx_ratio_map_close(&measure.map);
    }
    if (rc == 0)
        *change = found;
    return rc;
}
