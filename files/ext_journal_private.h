/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal of a filesystem that was in use, replayed in memory: a mount would copy its blocks to
 * their places; here a table says which block of the disk lies where in the journal. It is read by
 * the rules of jbd2: what was committed counts, and a block that was revoked later does not.
 *
 * The journal is hostile input like the rest: its length bounds all loops and tables.
 *
 * Threads: one.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* A block of the filesystem whose newest content lies in the journal. */
struct ext_journal_block {
    uint64_t block;
    uint64_t journal_block; /* counts within the journal */
    uint32_t escaped;       /* not 0: its first four bytes are replaced by the magic */
};

struct ext_journal_table {
    struct ext_journal_block *blocks; /* owned; ascending by `block`, each once */
    size_t count;
};

struct ext_journal_source {
    /* Fills a block; 0 or -errno. */
    int (*read)(void *arg, void *buffer, uint64_t journal_block);
    void *arg;
    uint32_t block_bytes;
    uint64_t block_count; /* of the journal's file */
};

enum { EXT_JOURNAL_MAGIC = 0xc03b3998u };

/* -EBADMSG for a damaged journal; -EOPNOTSUPP for one that has more than is known here, such as
 * fast commits; -ENOMEM; the source's errors. */
int ext_journal_read(const struct ext_journal_source *source, struct ext_journal_table *table,
                     struct blx_error *err);

void ext_journal_table_done(struct ext_journal_table *table);

/* The block; NULL: its content lies at its place. */
const struct ext_journal_block *ext_journal_find(const struct ext_journal_table *table,
                                                 uint64_t block);
