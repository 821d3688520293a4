/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose checkpoint is tested next, by the agents' policies (`restore-test`, config/policy.h).
 *
 * An agent is due if its newest checkpoint was not tested, the hours of its policy are now, and
 * its last test lies far enough back. With hours, and `every` of a day or more, days are counted by
 * the hours' begins: "1d" is once in each night, however late last night's test was. Among the due
 * ones the agent comes first whose last test is longest ago, so a night that is too short for all
 * begins the next one with the others; of those that were never tested, the one with the newest
 * checkpoint.
 *
 * Threads: pure, but for $TZ.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "base/name.h"
#include "base/timestamp.h"
#include "config/policy.h"

struct proof_plan_agent {
    char agent_id[BLX_NAME_BYTES];
    struct blx_policy_test test;
    blx_timestamp untested; /* its newest checkpoint; 0: that was tested, or there is none */
    time_t begun;           /* when its last test began; 0: never */
    time_t not_before;      /* another try of what could not be tested */
    bool running;           /* a test of it runs */
};

/* The agent whose turn it is; NULL: nobody's. */
struct proof_plan_agent *proof_plan_choose(struct proof_plan_agent *agents, size_t count,
                                           time_t now);

/* When a test that begins now has to have ended, whatever it does: within a boot's time after the
 * hours, at most. */
time_t proof_plan_end(const struct blx_policy_test *test, time_t now);
