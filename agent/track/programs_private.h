/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a tracker: loads the programs of bpf/tracker.bpf.c for one volume, attaches and pins them
 * and their maps. The numbers and names of the programs are here as well: program number n is copy
 * n % BLX_TRACKER_COPIES for tracepoint n / BLX_TRACKER_COPIES.
 *
 * Threads: any. libbpf's messages go to one callback of the process, so creations wait for each
 * other.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/disk/device.h"
#include "agent/track/pins_private.h"
#include "base/error.h"
#include "bpf/tracker.h"

enum {
    AGENT_PROGRAM_COUNT = BLX_TRACEPOINT_COUNT * BLX_TRACKER_COPIES,
    AGENT_PROGRAM_NAME_BYTES = 32
};

/* The name of the program, and of the pin of its link. */
void agent_program_format_name(unsigned program, char name[AGENT_PROGRAM_NAME_BYTES]);

/* Whether the tracker with this identity needs the program: copies that would only cost time are
 * not loaded. */
bool agent_program_is_needed(unsigned program, const struct blx_tracker_identity *identity);

/*
 * Makes a tracker with a bitmap of `words` words and a new generation, which is put into the pinned
 * copy of `identity` last. When it returns only the pins keep the tracker alive. On failure some
 * pins may be there; the caller removes them. Errors name the way out: rights, BTF, kernel, memory.
 */
int agent_programs_create(const struct agent_device *device,
                          const struct blx_tracker_identity *identity, uint64_t words,
                          const struct agent_pins *pins, struct blx_error *err);
