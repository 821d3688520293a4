/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A volume's image, written in order to a descriptor that cannot be sought in: `restore
 * --output=-`. Holes are written as zeros. Private to the command.
 *
 * Threads: one. Blocks on the store and on whoever reads.
 */
#pragma once

#include "base/error.h"
#include "base/progress.h"
#include "crypt/keyring.h"
#include "store/store.h"

struct cli_stream {
    struct blx_agent_store agent;
    blx_timestamp checkpoint;
    const char *volume;
    const struct blx_keyring *keys;
    struct blx_progress *bar;
};

/* Returns after the last byte was taken; if `fd` is a file it is durable then. -EBADMSG for damage,
 * and all other errors of a view (store/view/view.h) and of writing: then the image is cut off, and
 * an error must end the command. `written_bytes` is set in any case. */
int cli_stream_write(const struct cli_stream *stream, int fd, uint64_t *written_bytes,
                     struct blx_error *err);
