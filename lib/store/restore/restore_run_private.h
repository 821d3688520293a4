/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a restore writes: window by window, each with a plan, by a crew of workers. Where plans and
 * frames come from is a source: the store (restore.h), or a dispatcher (pull.h). Private to
 * lib/store.
 *
 *     source ──plan──► holes ──► output
 *       │                           ▲
 *       └────fetch──► worker ───────┘   several at once; each frame once
 *
 * Threads: blx_restore_run() blocks until all is written. It calls plan() and recover() in its own
 * thread, and the others from its workers, which have ended before plan() or recover() comes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "store/restore/journal_private.h"
#include "store/restore/restore.h"
#include "store/restore/restore_output_private.h"
#include "store/view/plan_private.h"
#include "store/view/stored_frame_private.h"

struct blx_restore_source {
    /* Fills the plan of the window that begins at plan->start_block; the plan has its limits. */
    int (*plan)(void *arg, struct blx_plan *plan, struct blx_error *err);

    /* Fills `stored`, unpacked, with the frame plan->frames[number]. The workers take the numbers
     * in ascending order, and call this at the same time. -EBADMSG: it is damaged. */
    int (*fetch)(void *arg, const struct blx_plan *plan, size_t number,
                 struct blx_stored_frame *stored, struct blx_error *err);

    /* -EBADMSG: the frame of the entry, with this seq, does not hold what the plan says. */
    int (*lacks)(void *arg, const struct blx_plan *plan, const struct blx_index_entry *entry,
                 uint64_t seq, struct blx_error *err);

    /* After a failure: 0 if the window is to be planned again; otherwise the error, which may be
     * another one. NULL: it never is. */
    int (*recover)(void *arg, int rc, struct blx_error *err);

    /* Before the first plan: the target is open, and constant meanwhile; it is borrowed. NULL: it
     * is opened after the first plan, which knows how large it is. */
    void (*opened)(void *arg, const struct blx_restore_output *output);
    uint64_t size_bytes; /* with opened() */

    void *arg;
    const struct blx_volume_key *key; /* borrowed; NULL: the frames are not encrypted */
    const char *way_out;              /* for the error of damage; NULL: there is none */
    struct blx_journal *journal;      /* borrowed; NULL: nobody goes on with it by the journal */
};

/* Begins as zero, except for the first three. */
struct blx_restore_run {
    const struct blx_restore_source *source;
    const struct blx_restore_target *target;
    const struct blx_restore_progress *progress; /* or NULL */
    struct blx_restore_output output;
    bool opened;
    uint64_t done_bytes;
};

/* Errors: those of the source, and of the target as blx_restore() names them. */
int blx_restore_run(struct blx_restore_run *run, struct blx_error *err);
