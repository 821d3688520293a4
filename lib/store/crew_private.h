/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers for a list of jobs: each in a thread of its own, while the caller reports; or, if one is
 * enough, in the caller's thread. The workers themselves share out the jobs and deal with failures.
 * Private to lib/store.
 *
 * Threads: blx_crew_run() belongs to its caller, and blocks until all workers have ended.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { BLX_CREW_MAX_WORKERS = 16 };

struct blx_crew {
    unsigned workers;          /* blx_crew_size(); 0: there is nothing to do */
    void (*work)(void *arg);   /* a worker: until no job is left */
    void (*report)(void *arg); /* in the caller's thread, ten times a second, and at the end */
    void *arg;
};

/* How many workers are worth starting for `jobs` of `bytes` together; at most `most`. */
unsigned blx_crew_size(size_t most, uint64_t bytes, size_t jobs);

/* 0 if at least one worker could be started, which then did it all; -errno otherwise. */
int blx_crew_run(const struct blx_crew *crew);
