/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process that has the store and the keys, or a dispatcher's token and the keys: it answers the
 * reader's questions about blocks, and touches nothing that a filesystem says.
 *
 * Threads: one; opening a chain starts some for a moment.
 */
#pragma once

#include <signal.h>
#include <sys/types.h>

#include "base/error.h"
#include "config/config.h"
#include "crypt/keyring.h"

struct files_keeper {
    const struct blx_config *config;
    const struct blx_keyring *keys;
    const char *token; /* NULL: the checkpoint is in this host's store */
    int ready_fd;      /* gets a struct blx_error, whose code is 0 once the checkpoint is open */
    int blocks_fd;
    int overlay_fd; /* what is written over the checkpoint; the keeper's; 0: nobody writes */
};

struct files_keeper_start {
    const struct blx_config *config;
    const char *token; /* as files_keeper's; borrowed */
    int blocks_fd;  /* the keeper's end; the caller closes it afterwards, so that its end is seen */
    int overlay_fd; /* as files_keeper's; borrowed */
    int closed_fd;  /* one of the caller's that the keeper must not hold; -1: none */
};

/* Forks the keeper. The keys are read here, and lie in its memory alone then. *ready_fd is for
 * files_keeper_await(), and the caller's. Errors as blx_keyring_add(). */
int files_keeper_start(const struct files_keeper_start *start, pid_t *pid, int *ready_fd,
                       struct blx_error *err);

/* Waits until the checkpoint is open. Its errors; -EINTR once a signal has set *stopped. */
int files_keeper_await(int ready_fd, const volatile sig_atomic_t *stopped, struct blx_error *err);

/* Becomes the owner of the data directory, unless a dispatcher has it; opens the checkpoint and
 * answers until the reader has
 * ended. Returns the exit code. */
enum blx_exit files_keep(const struct files_keeper *keeper);
