/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How hard frames are packed if `compression` is "auto". The level depends on what holds the agent
 * back:
 *
 * - The network (frames wait for the window, the bandwidth-limit or the socket): a higher level, as
 *   long as packing keeps to its share of this server's processors.
 * - The processors (the sender waits for frames that are being packed), or packing takes more than
 *   its share: a lower level.
 * - Anything else, such as a slow disk or nothing to send: the same level.
 *
 * It moves one step at a time. It goes up only after several looks in a row that called for it, and
 * not soon after a step down. The lowest rung is zstd at its fastest and not "none": a frame that
 * is not compressed today takes up the store's space as long as its checkpoint is kept.
 *
 * Threads: one at a time. Pure: times come from the caller.
 */
#pragma once

#include <stdint.h>

/* The times since the last look, in ns. Time in which there was nothing to send is in neither of
 * the first two. */
struct agent_effort_times {
    uint64_t blocked_ns; /* the sender waited for the network */
    uint64_t starved_ns; /* the sender waited for frames that were under way */
    uint64_t packing_ns; /* processor time of the workers' packing, together */
    unsigned frames;     /* that the sender has taken */
};

struct agent_effort {
    unsigned processors;
    unsigned rung;
    unsigned ups, downs; /* looks in a row that wanted it */
    unsigned rest;       /* looks until it may go up again */
    struct agent_effort_times sum;
};

/* Begins with the level of fixed zstd. */
void agent_effort_init(struct agent_effort *effort, unsigned processors);

/* Adds the times, and now and then looks at their sum. Returns the level for the frames from now on
 * (blx_frame_content). */
int agent_effort_add(struct agent_effort *effort, const struct agent_effort_times *times);
