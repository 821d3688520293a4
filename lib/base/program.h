/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another program, started with chosen descriptors, that does not outlive us: it is killed if the
 * thread that has started it dies, however that comes. It gets our environment and our process
 * group, no signal is blocked or ignored, and nothing else of ours is open in it.
 *
 *     start ──► it runs ──► wait, or kill
 *
 * For a line of the user's with a limit in time there is base/command.h.
 *
 * Threads: any; the one that starts must live as long as the program shall. A program that changes
 * its user outlives us, so let it end with a descriptor of ours, too.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

enum { BLX_PROGRAM_MAX_FDS = 128 };

struct blx_program {
    const char *const *words; /* NULL ends them; the first one is looked for in PATH */
    const int *fds;           /* they become 0, 1, 2, ...; -1: /dev/null; borrowed */
    size_t fd_count;          /* 3 to BLX_PROGRAM_MAX_FDS */
    const char *package;      /* for the message if it is missing; NULL: it tells none */
};

/* Returns after the program has taken the process over: -ENOENT if there is none, -EACCES, -ENOMEM,
 * -EMFILE. Then no process is left. */
int blx_program_start(const struct blx_program *program, pid_t *pid, struct blx_error *err);

enum { BLX_PROGRAM_SIGNALLED = 128 };

/* Blocks until it has ended. Its exit status, or BLX_PROGRAM_SIGNALLED and the number of the signal
 * that ended it. */
int blx_program_wait(pid_t pid);

/* Kills it and waits. */
void blx_program_kill(pid_t pid);
