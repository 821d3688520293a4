/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a target holds already, compared with a volume at a dispatcher: by keyed digests of blocks
 * (crypt/block_digest.h), which the dispatcher has beside its frames, and the target makes of what
 * it reads.
 *
 *     a part of the volume ──► read, digests in memory ──► questions: 4 MiB each
 *                                                     differs ──► 256 KiB each
 *                                                     differs ──► 32 KiB each, then each block
 *
 * So a part that is equal costs 12 bytes a MiB, and the target is read once.
 *
 * Memory: a part's digests, 4 MiB, and 1 MiB for each worker. Private to lib/store.
 *
 * Threads: blx_compare_next() belongs to the restore's thread, and starts workers that end before
 * it does. It waits for the disk and the network.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/bitmap.h"
#include "base/error.h"
#include "crypt/volume_key.h"
#include "store/restore/pull_private.h"

/* Extents that differ, ascending and disjoint; the list is appended to as base/array.h says. */
struct blx_compare_list {
    struct blx_extent *extents; /* owned */
    size_t count;
};

struct blx_compare;

/* `key` is the volume's (NULL: it is not encrypted), copied. -ENOMEM. */
int blx_compare_new(struct blx_pull *pull, uint32_t volume, const struct blx_volume_key *key,
                    struct blx_compare **compare, struct blx_error *err);

/* NULL is allowed. */
void blx_compare_free(struct blx_compare *compare);

/* The target, which is borrowed; and who is told how far it is, or NULL. */
void blx_compare_attach(struct blx_compare *compare, const struct blx_restore_output *output,
                        const struct blx_restore_progress *progress);

/* The connection is another one, whose dispatcher does not know of the comparison. */
void blx_compare_reconnected(struct blx_compare *compare);

/*
 * Compares the next part of the volume, from *block on, and adds what differs. *block is then its
 * end. After an error it is as before, and so is the list, unless the error is -ENOMEM. As
 * blx_pull_receive(); -EPROTO if the answers make no sense; the errors of the target; -EIO.
 */
int blx_compare_next(struct blx_compare *compare, uint64_t *block, struct blx_compare_list *list,
                     struct blx_error *err);
