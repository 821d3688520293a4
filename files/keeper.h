/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process that has the store and the keys, or a dispatcher's token and the keys: it answers the
 * reader's questions about blocks, and touches nothing that a filesystem says.
 *
 * Threads: one; opening a chain starts some for a moment.
 */
#pragma once

#include "base/error.h"
#include "config/config.h"
#include "crypt/keyring.h"

struct files_keeper {
    const struct blx_config *config;
    const struct blx_keyring *keys;
    const char *token; /* NULL: the checkpoint is in this host's store */
    int ready_fd;      /* gets a struct blx_error, whose code is 0 once the checkpoint is open */
    int blocks_fd;
};

/* Becomes the owner of the data directory, unless a dispatcher has it; opens the checkpoint and
 * answers until the reader has
 * ended. Returns the exit code. */
enum blx_exit files_keep(const struct files_keeper *keeper);
