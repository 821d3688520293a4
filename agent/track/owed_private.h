/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a bio-based device owes: the ranges of bios that were queued and whose completion no program
 * has seen. bpf/tracker.bpf.c fills the table and has the drawing; here is the agent's part.
 *
 * - At each cut every range that is owed is marked, before anything is claimed. It stays owed, so
 *   that a write that lands after the cut has read its block is marked again by its completion, by
 *   the next bio with its address, or by the next cut.
 * - A range that stays owed is looked at while the disk is at rest (idle_private.h). If the
 *   programs saw parts of its bio complete, but not all, it is marked and forgotten: otherwise it
 *   would be read at each cut for ever. If they saw nothing of it, the kernel has left the programs
 *   out, or a driver ends bios in a way that is not traced. As it was with this completion, so it
 *   may have been with the queueing of another bio, of which nothing is known. That is the doubt,
 *   and the witness (witness.h) of bio-based devices. Such a range stays owed until its bio's
 *   memory is used again: it may yet be on its way.
 *
 * Threads: one at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/tracker.h"

struct agent_owed {
    struct blx_tracker_place *places; /* mapped; NULL: the device is not bio-based */
    struct agent_owed_age *ages;      /* of each place */
    int pending_fd;                   /* borrowed */
    uint64_t *dirty;                  /* borrowed */
    struct blx_tracker_identity identity;
};

/* Returns 0 or -errno. */
int agent_owed_open(struct agent_owed *owed, int places_fd);
void agent_owed_close(struct agent_owed *owed);

/* Marks all that is owed. True if one of the writes may be in flight now. */
bool agent_owed_mark(struct agent_owed *owed);

/* What a look has found. */
struct agent_owed_findings {
    uint64_t stuck;     /* ranges that nothing is known of, not found before */
    uint64_t forgotten; /* marked, and owed no more */
};

/*
 * `idle`: the disk was at rest a moment ago. A place that is taken back must not belong to a new
 * bio meanwhile. If a bio was queued since a moment before the rest, the caller cannot know this,
 * and `forgotten` counts as a doubt, too.
 */
void agent_owed_look(struct agent_owed *owed, uint64_t now_ns, bool idle,
                     struct agent_owed_findings *findings);
