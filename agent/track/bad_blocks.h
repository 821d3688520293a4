/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The blocks of a volume whose last read failed. They stay pending in the ledger, and so are owed
 * to the dispatcher. This set keeps ordinary rounds from reading them: only a round of its own
 * tries them again (session/rounds.c). A read that fails takes a disk seconds, and must not hold up
 * a cut, let alone a freeze. A block that is written to leaves the set, because a write often heals
 * it.
 *
 * Kept in memory only: an agent that starts finds them again, since all of them are pending.
 *
 * Threads: any thread adds and removes blocks; each field says whose it is.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bitmap.h"
#include "base/error.h"
#include "wire/message.h"

struct agent_bad_blocks {
    /* Atomic (the words each by itself): any thread. */
    uint64_t *words; /* owned; a page that was never touched takes no memory */
    atomic_uint_least64_t count;
    atomic_uint_least64_t found; /* how often a block that was not in the set came into it */
    atomic_int error;            /* of the last failure, -errno */

    uint64_t blocks; /* constant */

    /* The control thread's alone. */
    uint64_t told_found, told_ns; /* of the last log line; 0: all blocks in it are healed */
    uint64_t cursor;              /* where the next retry goes on */
    uint64_t retry_begun_ns, retry_ended_ns;
};

/* -ENOMEM. */
int agent_bad_blocks_init(struct agent_bad_blocks *bad, uint64_t blocks, struct blx_error *err);
void agent_bad_blocks_done(struct agent_bad_blocks *bad);

/* `rc` is the error of reading them. */
void agent_bad_blocks_add(struct agent_bad_blocks *bad, struct blx_extent extent, int rc);
void agent_bad_blocks_remove(struct agent_bad_blocks *bad, struct blx_extent extent);

/* The set's bits in one word of the volume's bitmaps; and removes some of them. */
uint64_t agent_bad_blocks_get_word(const struct agent_bad_blocks *bad, uint64_t index);
void agent_bad_blocks_remove_word(struct agent_bad_blocks *bad, uint64_t index, uint64_t bits);

/* All of them, for a message. If there are more extents than it holds, those with the smallest gaps
 * between them are joined. extent_count is 0 if there are none. */
void agent_bad_blocks_list(const struct agent_bad_blocks *bad, struct blx_unreadable *list);

/* Logs the blocks found since the last line, at most once a minute; and once that all are
 * healed. */
void agent_bad_blocks_report(struct agent_bad_blocks *bad, const char *device,
                             unsigned block_shift);
