/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A command of the user's: /bin/sh -c COMMAND with a time limit, in a process group of its own,
 * stdin from /dev/null, stdout and stderr to our stderr, and some variables more in the
 * environment. At the limit the group is killed.
 *
 * Threads: any; blocks until the command has ended.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/watchdog.h"

struct blx_command {
    const char *name; /* for messages: "the NAME command" */
    const char *text;
    const char *const *variables; /* "NAME=value"; they replace inherited ones */
    size_t variable_count;
    uint64_t timeout_ms;
    struct blx_watchdog *watchdog; /* its hand 0 turns meanwhile; NULL: none */
    int stop_fd;                   /* readable: it is killed; -1: none */
};

/* -ECHILD where it ended with another status than 0 (the message says which), -ETIMEDOUT at the
 * limit, -ECANCELED by stop_fd. */
int blx_command_run(const struct blx_command *command, struct blx_error *err);
