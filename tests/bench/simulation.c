/* SPDX-License-Identifier: Apache-2.0 */
#include "simulation.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/sys.h"

enum { STRETCH_BYTES = 64 << 20, FIRST_SECOND = 1000000000 };

static int fsync_nothing(int fd)
{
    (void)fd;
    return 0;
}

static struct blx_sys unsynced;

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

int blx_simulation_init(struct blx_simulation *simulation,
                        const struct blx_simulation_options *options, struct blx_error *err)
{
    *simulation = (struct blx_simulation){
        .options = *options,
        .volume = {.block_shift = options->block_shift, .size_bytes = options->size_bytes},
        .blocks = ((options->size_bytes - 1) >> options->block_shift) + 1,
        .random = options->seed * 2 + 1,
        .second = FIRST_SECOND,
    };
    snprintf(simulation->volume.device, sizeof(simulation->volume.device), "%s",
             options->device == NULL ? "/dev/sda" : options->device);
    blx_name_from_device(simulation->volume.device, simulation->volume.name);
    memset(simulation->volume.generation.bytes, 1, sizeof(simulation->volume.generation.bytes));
    simulation->versions = calloc(simulation->blocks, sizeof(simulation->versions[0]));
    simulation->data = malloc(BLX_FRAME_MAX_DATA_BYTES);
    simulation->frame = malloc(BLX_FRAME_MAX_BYTES * 2);
    if (simulation->versions == NULL || simulation->data == NULL || simulation->frame == NULL) {
        blx_simulation_done(simulation);
        return blx_error_errno(err, -ENOMEM, "cannot simulate a disk");
    }
    unsynced = blx_sys_real;
    unsynced.fsync = fsync_nothing;
    unsynced.fdatasync = fsync_nothing;
    blx_sys = &unsynced;
    return 0;
}

void blx_simulation_done(struct blx_simulation *simulation)
{
    free(simulation->versions);
    free(simulation->changed);
    free(simulation->data);
    free(simulation->frame);
    *simulation = (struct blx_simulation){0};
    blx_sys = &blx_sys_real;
}

static uint64_t stretch_blocks(const struct blx_simulation *simulation)
{
    return STRETCH_BYTES >> simulation->options.block_shift;
}

static bool is_used(const struct blx_simulation *simulation, uint64_t block)
{
    uint64_t stretch = stretch_blocks(simulation);
    return block % stretch * 100 < stretch * simulation->options.used_percent;
}

static int compare_blocks(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static int add_run(struct blx_simulation *simulation, uint64_t start, uint64_t count)
{
    for (uint64_t block = start; block < start + count && block < simulation->blocks; block++) {
        if (!is_used(simulation, block))
            continue;
        if (simulation->changed_count == simulation->changed_capacity) {
            size_t capacity = simulation->changed_capacity * 2 + 64;
            uint64_t *grown = reallocarray(simulation->changed, capacity, sizeof(grown[0]));
            if (grown == NULL)
                return -ENOMEM;
            simulation->changed = grown;
            simulation->changed_capacity = capacity;
        }
        simulation->versions[block]++;
        simulation->changed[simulation->changed_count++] = block;
    }
    return 0;
}

int blx_simulation_change(struct blx_simulation *simulation, uint64_t bytes, uint64_t run_bytes,
                          struct blx_error *err)
{
    unsigned shift = simulation->options.block_shift;
    uint64_t run = run_bytes >> shift > 0 ? run_bytes >> shift : 1;
    for (uint64_t left = bytes >> shift; left > 0; left -= run < left ? run : left) {
        uint64_t start;
        do
            start = next_random(&simulation->random) % simulation->blocks;
        while (!is_used(simulation, start));
        if (add_run(simulation, start, run < left ? run : left) < 0)
            return blx_error_errno(err, -ENOMEM, "cannot simulate a disk");
    }
    if (simulation->changed_count == 0)
        return 0;
    uint64_t *blocks = simulation->changed;
    size_t kept = 1;
    qsort(blocks, simulation->changed_count, sizeof(blocks[0]), compare_blocks);
    for (size_t i = 1; i < simulation->changed_count; i++)
        if (blocks[i] != blocks[kept - 1])
            blocks[kept++] = blocks[i];
    simulation->changed_count = kept;
    return 0;
}

/* The block's own part first, which does not compress; then one that does. */
void blx_simulation_read(const struct blx_simulation *simulation, uint64_t block, void *buffer)
{
    size_t bytes = (size_t)1 << simulation->options.block_shift;
    size_t words = bytes / 8, random_words = words * simulation->options.random_percent / 100;
    uint64_t version = simulation->versions[block];
    if (version == 0) {
        memset(buffer, 0, bytes);
        return;
    }
    uint64_t state = (block + 1) * 0x9e3779b97f4a7c15ULL ^ version * 0xc2b2ae3d27d4eb4fULL ^
                     simulation->options.seed;
    uint64_t *to = buffer;
    to[0] = state | 1; /* never zero as a whole */
    for (size_t i = 1; i < words; i++)
        to[i] = i <= random_words ? next_random(&state) : 0x2e646c726f57206fULL + i / 64;
    uint64_t at = block << simulation->options.block_shift, end = simulation->options.size_bytes;
    if (end - at < bytes)
        memset((uint8_t *)buffer + (end - at), 0, bytes - (end - at));
}

int blx_simulation_connect(struct blx_simulation *simulation, const struct blx_store *store,
                           const char *agent_id, struct blx_agent_tail *tail,
                           struct blx_agent_writer **writer, struct blx_error *err)
{
    struct blx_volume_state state;
    struct blx_agent_writer *opened = NULL;
    int rc = blx_agent_writer_open(blx_store_agent(store, agent_id), tail, &opened, err);
    if (rc == 0)
        rc = blx_agent_writer_add_volume(opened, &simulation->volume, &state, err);
    if (rc == 0) {
        bool goes_on = blx_generation_equal(&state.generation, &simulation->volume.generation);
        simulation->seq = goes_on ? state.durable_seq : 0;
        rc = blx_agent_writer_begin(opened, 0, goes_on ? BLX_PASS_RESUME : BLX_PASS_FULL, err);
    }
    if (rc < 0) {
        blx_agent_writer_close(opened);
        return rc;
    }
    *writer = opened;
    return 0;
}

/* The frame that is being filled. */
struct filling {
    struct blx_frame_extent extents[BLX_FRAME_TARGET_BYTES >> BLX_BLOCK_SHIFT_MIN];
    uint32_t extent_count, data_bytes;
};

static int flush(struct blx_simulation *simulation, struct blx_agent_writer *writer,
                 struct filling *filling, struct blx_error *err)
{
    if (filling->extent_count == 0)
        return 0;
    struct blx_frame_content content = {
        .codec = simulation->options.codec,
        .block_shift = simulation->options.block_shift,
        .generation = simulation->volume.generation,
        .extents = filling->extents,
        .extent_count = filling->extent_count,
        .data = simulation->data,
        .data_bytes = filling->data_bytes,
    };
    size_t frame_bytes;
    int rc = blx_frame_pack(&content, simulation->frame, &frame_bytes, err);
    if (rc < 0)
        return rc;
    blx_frame_seal(simulation->frame, ++simulation->seq);
    filling->extent_count = filling->data_bytes = 0;
    return blx_agent_writer_append(writer, 0, simulation->frame, frame_bytes, err);
}

static int send_block(struct blx_simulation *simulation, struct blx_agent_writer *writer,
                      uint64_t block, struct filling *filling, struct blx_error *err)
{
    struct blx_frame_extent *last =
        filling->extent_count > 0 ? &filling->extents[filling->extent_count - 1] : NULL;
    if (last != NULL && last->extent.start_block + last->extent.block_count == block)
        last->extent.block_count++;
    else
        filling->extents[filling->extent_count++] = (struct blx_frame_extent){{block, 1}, false};
    blx_simulation_read(simulation, block, simulation->data + filling->data_bytes);
    filling->data_bytes += 1U << simulation->options.block_shift;
    if (filling->data_bytes < BLX_FRAME_TARGET_BYTES)
        return 0;
    return flush(simulation, writer, filling, err);
}

int blx_simulation_send_all(struct blx_simulation *simulation, struct blx_agent_writer *writer,
                            struct blx_error *err)
{
    struct filling filling = {0};
    for (uint64_t block = 0; block < simulation->blocks; block++) {
        if (!is_used(simulation, block))
            continue;
        if (simulation->versions[block] == 0)
            simulation->versions[block] = 1;
        int rc = send_block(simulation, writer, block, &filling, err);
        if (rc < 0)
            return rc;
    }
    return flush(simulation, writer, &filling, err);
}

int blx_simulation_send_changed(struct blx_simulation *simulation, struct blx_agent_writer *writer,
                                struct blx_error *err)
{
    struct filling filling = {0};
    for (size_t i = 0; i < simulation->changed_count; i++) {
        int rc = send_block(simulation, writer, simulation->changed[i], &filling, err);
        if (rc < 0)
            return rc;
    }
    simulation->changed_count = 0;
    return flush(simulation, writer, &filling, err);
}

int blx_simulation_commit(struct blx_simulation *simulation, struct blx_agent_writer *writer,
                          blx_timestamp *timestamp, struct blx_error *err)
{
    struct blx_checkpoint_message cut = {
        .cut_realtime_ns = simulation->second * 1000000000,
        .consistency = BLX_CONSISTENCY_FILESYSTEM,
        .volume_count = 1,
        .last_seq = {simulation->seq},
    };
    simulation->second += 60;
    const struct blx_commit_times times = {cut.cut_realtime_ns, cut.cut_realtime_ns};
    return blx_agent_writer_commit(writer, &cut, &times, timestamp, err);
}
