/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another program, started with chosen descriptors, that does not outlive us: it is killed if the
 * thread that has started it dies, however that comes. It gets our process group, no signal is
 * blocked or ignored, and nothing else of ours is open in it.
 *
 *     start ──► it runs ──► wait, or kill
 *
 * For a line of the user's with a limit in time there is base/command.h.
 *
 * Threads: any; the one that starts must live as long as the program shall. A program that changes
 * its user by itself outlives us, so let it end with a descriptor of ours, too; store/owner.h takes
 * care of that.
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
    /* "NAME=value", NULL ends them, instead of our environment; NULL: that. PATH is ours. */
    const char *const *environment;
    /* The descriptor 3 is a socket that the program listens at, as systemd hands them over. */
    enum blx_program_listens { BLX_PROGRAM_CONNECTS, BLX_PROGRAM_LISTENS } listens;
    const struct blx_program_user *user; /* NULL: ours */
    /* Called in the new process, as that user and with its descriptors, just before it becomes the
     * program: 0, or -errno, which is the start's. NULL: nothing. */
    int (*confine)(const void *arg);
    const void *confine_arg;
};

/* Whoever the program is to be. Only root chooses. */
struct blx_program_user {
    uid_t uid;
    gid_t gid;
    gid_t group; /* one that it has besides */
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
