/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far a restore from elsewhere has come: the blocks of the target that are written and durable.
 * By it a restore goes on after its connection was cut, and, as it lies in a file, after the
 * process or the machine has died.
 *
 *     header               whose restore it is
 *     batch                the blocks that became durable at one flush, and a sample of them
 *     batch ...            append-only; a torn end is cut off
 *
 * A batch is written after the target was flushed, so a journal never says more than is true. It
 * has the digest of one of its extents as it was read back. Whoever goes on compares these samples
 * first: a disk that got the name of another one is found.
 *
 * All blocks below the window are done; memory is 16 bytes for each run of done blocks in the
 * window.
 *
 * Private to lib/store. Threads: blx_journal_note() from several at once; everything else belongs
 * to the restore's thread. Save and advance wait for the disk.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bitmap.h"
#include "base/error.h"
#include "base/name.h"
#include "base/timestamp.h"
#include "store/restore/restore_output_private.h"
#include "store/view/plan_private.h"

struct blx_journal;

/* Whose restore it is. */
struct blx_journal_head {
    char agent_id[BLX_NAME_BYTES];
    char volume[BLX_NAME_BYTES];
    blx_timestamp checkpoint;
    uint64_t size_bytes;
    unsigned block_shift;
    char target[PATH_MAX];
};

/*
 * Opens the journal `path`, mode 0600. With BLX_JOURNAL_RESUME one that is there and has this head
 * is read: -ENOENT if there is none, -ESTALE if it is another restore's, -EBADMSG if its header is
 * damaged. Otherwise it begins empty. -EBUSY while another process has it.
 */
enum blx_journal_start { BLX_JOURNAL_BEGIN, BLX_JOURNAL_RESUME };
int blx_journal_open(const char *path, const struct blx_journal_head *head,
                     enum blx_journal_start start, struct blx_journal **journal,
                     struct blx_error *err);

/* NULL is allowed. */
void blx_journal_close(struct blx_journal *journal);

/* The target, which is borrowed from now on. Compares the samples: -ESTALE if the target is not
 * what the journal is about. */
int blx_journal_attach(struct blx_journal *journal, const struct blx_restore_output *output,
                       struct blx_error *err);

/* The first block that may not be done. */
uint64_t blx_journal_get_window(const struct blx_journal *journal);

/* How many bytes of the window are done, and below it. */
uint64_t blx_journal_get_done_bytes(const struct blx_journal *journal);

/* Takes what is done out of the index, whose entries are sorted by block. -ENOMEM. */
int blx_journal_trim(struct blx_journal *journal, struct blx_index *index, struct blx_error *err);

/* A frame's blocks are written, though perhaps not durable. -ENOMEM. */
int blx_journal_note(struct blx_journal *journal, const struct blx_plan *plan,
                     const struct blx_plan_frame *planned, struct blx_error *err);

/* Makes what was noted durable, first in the target and then here. In turn: only if the last time
 * was some seconds ago. */
enum blx_journal_save { BLX_JOURNAL_IN_TURN, BLX_JOURNAL_NOW };
int blx_journal_save(struct blx_journal *journal, enum blx_journal_save when,
                     struct blx_error *err);

/* All blocks below `start_block` are written; 0: all of the volume's. */
int blx_journal_advance(struct blx_journal *journal, uint64_t start_block, struct blx_error *err);
