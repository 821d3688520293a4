/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands that read a data directory also read copies: --data-dir=s3://BUCKET/PREFIX, or a folder
 * of `blxrep dispatcher copy --to=FOLDER`. blxrep-copy makes a data directory of them in the cache
 * (object/cache.h), and from here on the command sees that one.
 *
 * It is removed when this process has ended, and whatever it becomes: they keep a pipe open.
 *
 * Threads: one. Waits for the network.
 */
#pragma once

#include "cli/command.h"

struct cli_fetched {
    char **argv; /* owned; the words with the other --data-dir; NULL: nothing was fetched */
    int argc;
    char *word; /* owned; "--data-dir=..." */
    int life_fd;
};

/* Does nothing if --data-dir is none of these. Changes the configuration's data directory. -EINVAL:
 * the command does not read copies. */
int cli_fetch_copies(uint64_t command, struct blx_config *config, int argc, char **argv,
                     struct cli_fetched *fetched, struct blx_error *err);
void cli_fetched_done(struct cli_fetched *fetched);
