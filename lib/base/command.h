/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A command of the user's: /bin/sh -c COMMAND with a time limit, in a process group of its own. Its
 * stdin is /dev/null, its stdout and stderr are our stderr, and its environment has some variables
 * more than ours. At the limit the group is killed.
 *
 * Threads: any; blocks until the command has ended.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/watchdog.h"

struct blx_user_command {
    const char *name; /* for messages: "the NAME command" */
    const char *text;
    const char *const *variables; /* "NAME=value"; they replace inherited ones */
    size_t variable_count;
    uint64_t timeout_ms;
    struct blx_watchdog *watchdog; /* its hand 0 turns while the command runs; NULL: none */
    int stop_fd;                   /* once it is readable the command is killed; -1: none */
};

/* -ECHILD if it ended with another status than 0 (the message says which), -ETIMEDOUT at the limit,
 * -ECANCELED if stop_fd ended it. */
int blx_command_run(const struct blx_user_command *command, struct blx_error *err);
