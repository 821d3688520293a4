/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests that run: a blxrep-test each. What they complain about goes to our log. They end with this
 * process, however it ends (base/program.h), and so do their guests.
 *
 * Threads: one.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "config/config.h"
#include "proof/plan.h"

enum { PROOF_MOST_JOBS = 16 };

struct proof_job {
    char agent_id[BLX_NAME_BYTES];
    blx_timestamp checkpoint;
    pid_t pid;
    int end_fd; /* readable: it has ended */
    time_t end; /* then it is killed */
};

struct proof_jobs {
    const struct blx_config *config; /* of the tester; borrowed */
    struct proof_job list[PROOF_MOST_JOBS];
    size_t count;
};

/* Starts the test of the agent's newest checkpoint. -ENOENT and others as blx_program_start(). */
int proof_jobs_start(struct proof_jobs *jobs, const struct proof_plan_agent *agent, time_t now,
                     struct blx_error *err);

/* Waits until one of them ends, `wake_fd` is readable or the time is over. One that ran too long is
 * killed. True: `ended` is one of them, which has left the list. */
bool proof_jobs_wait(struct proof_jobs *jobs, int wake_fd, uint64_t timeout_ms,
                     struct proof_job *ended);

/* Kills all. */
void proof_jobs_stop(struct proof_jobs *jobs);
