/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A standing order about an agent: something that is written into its folder, and that holds until
 * another order takes it back. It stands in the store first, and then the running dispatcher is
 * told; one that starts later reads it there.
 *
 * Threads: one.
 */
#pragma once

#include "cli/command.h"

struct cli_order {
    const char *event; /* in the audit log */
    int (*write)(struct blx_agent_store agent, blx_timestamp now, struct blx_error *err);
    const char *state; /* of the agent from now on: "paused" */
    const char *told;  /* what that means, after the agent's ID: "is paused: ..." */
};

enum blx_exit cli_order_give(const struct blx_config *config, const struct cli_order *order,
                             struct blx_error *err);
