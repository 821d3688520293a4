/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disks of a checkpoint on the tester's bench: what is tried on them, and the one place that
 * says when to stop.
 *
 * Threads: one.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "files/source.h"
#include "proof/cage.h"

struct proof_bench {
    struct files_source *blocks;
    const struct files_disk *disks;
    size_t disk_count;
    int wake_fd; /* readable: stop; -1: none */
    uint64_t deadline_ns;
};

/* A run of a program on one of the disks (cage.h). */
struct proof_cage proof_bench_cage(const struct proof_bench *bench, uint32_t disk,
                                   const char *const *words, const char *package);
