/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The user's pre-freeze and post-thaw commands (base/command.h), with BLXREP_AGENT and BLXREP_HOOK
 * in the environment.
 *
 * Threads: any; blocks until the command has ended.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "base/watchdog.h"

/* If `command` is NULL nothing runs. -ECHILD if it ended with another status than 0, which the
 * message names; -ETIMEDOUT at the limit. Hand 0 of `watchdog` turns meanwhile, as the limit may be
 * longer than its period. */
int agent_hook_run(const char *hook_name, const char *command, const char *agent_id,
                   uint64_t timeout_ms, struct blx_watchdog *watchdog, struct blx_error *err);
