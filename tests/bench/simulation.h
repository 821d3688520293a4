/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that exists only as numbers, and an agent that sends it. Benchmarks and tests of long
 * chains write their stores with it, through the same calls as a session. A block's content follows
 * from its version, so that only a version of four bytes is kept for each block, and a restore can
 * be checked without a copy of the disk.
 *
 * A part of the disk, spread over all of it in stretches of 64 MiB, is in use; the rest was never
 * written and stays a hole. A change rewrites runs of blocks at random places of what is in use.
 *
 * Threads: one at a time. Everything waits for the disk, and nothing is fsynced while a simulation
 * lives: a store made for a measurement need not survive a power cut.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "store/receive/agent_writer_private.h"

struct blx_simulation_options {
    uint64_t size_bytes;
    unsigned used_percent; /* of the disk, 1 to 100 */
    unsigned block_shift;
    unsigned random_percent; /* of a block that does not compress, 0 to 100 */
    enum blx_codec codec;
    uint64_t seed;
    const char *device; /* as its server calls it; NULL: /dev/sda */
};

struct blx_simulation {
    struct blx_simulation_options options;
    struct blx_volume_info volume;
    uint64_t blocks;
    uint32_t *versions; /* owned; for each block; 0: never written */
    uint64_t random;
    uint64_t second;   /* of the next checkpoint, since 1970 */
    uint64_t *changed; /* owned; ascending, and what the next checkpoint sends */
    size_t changed_count, changed_capacity;
    uint8_t *data, *frame; /* owned; of the frame that is being made */
    uint64_t seq;
};

int blx_simulation_init(struct blx_simulation *simulation,
                        const struct blx_simulation_options *options, struct blx_error *err);
void blx_simulation_done(struct blx_simulation *simulation);

/* Overwrites `bytes` of blocks that are in use, in runs of `run_bytes`. -ENOMEM. */
int blx_simulation_change(struct blx_simulation *simulation, uint64_t bytes, uint64_t run_bytes,
                          struct blx_error *err);

/* Begins a session for the agent, with a full pass unless it goes on; `tail` as
 * blx_agent_writer_open() has it. Close it with blx_agent_writer_close(). */
int blx_simulation_connect(struct blx_simulation *simulation, const struct blx_store *store,
                           const char *agent_id, struct blx_agent_tail *tail,
                           struct blx_agent_writer **writer, struct blx_error *err);

/* Sends everything that is in use, as a full pass does. */
int blx_simulation_send_all(struct blx_simulation *simulation, struct blx_agent_writer *writer,
                            struct blx_error *err);

/* Sends what has changed since the last checkpoint. */
int blx_simulation_send_changed(struct blx_simulation *simulation, struct blx_agent_writer *writer,
                                struct blx_error *err);

/* Commits a checkpoint, a minute after the last one. */
int blx_simulation_commit(struct blx_simulation *simulation, struct blx_agent_writer *writer,
                          blx_timestamp *timestamp, struct blx_error *err);

/* Block `block` as the disk has it now: 1 << block_shift bytes. */
void blx_simulation_read(const struct blx_simulation *simulation, uint64_t block, void *buffer);
