/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removes data of an agent for good, by hand: all of it, one volume of every checkpoint, or what
 * was received and is in no checkpoint. A prune (prune.h) removes checkpoints by rules; this asks
 * no rule.
 *
 * Nobody may be connected as the agent: its writer holds BLX_LOCK_SESSION. Neither may a restore
 * read what is to go. A folder goes in one step: it is renamed, durably, and then taken apart, so
 * that no half of an agent is ever listed. STORE.md says what a crash between the steps leaves;
 * either the call is repeated, or blx_remove_finish() ends it.
 *
 * Threads: one removal of an agent at a time, in any number of processes; others get -EBUSY. All
 * functions block on the disk.
 */
#pragma once

#include "base/timestamp.h"
#include "store/store.h"

enum blx_remove_part {
    BLX_REMOVE_ALL,         /* the agent: the store then does not know it any more */
    BLX_REMOVE_VOLUME,      /* one volume; a checkpoint that has no other one goes, too */
    BLX_REMOVE_UNCOMMITTED, /* frames that no checkpoint has: the agent's next session compares */
};

struct blx_remove_request {
    enum blx_remove_part part;
    const char *volume; /* VOLUME: which; UNCOMMITTED: only of this one, NULL: of all; ALL: NULL */
    const blx_timestamp *named; /* pinned checkpoints that may be hurt all the same */
    size_t named_count;
};

struct blx_remove_report {
    size_t checkpoints;   /* that go */
    size_t narrowed;      /* that stay, without the volume */
    blx_timestamp oldest; /* of both kinds; 0: there are none */
    blx_timestamp newest;
    size_t volumes; /* that go, or lose frames */
    uint64_t bytes; /* that their files take on the disk */
};

/*
 * What a removal would remove; changes nothing. -ENOENT, with the volumes that there are, for an
 * unknown agent or volume; -EPERM if it would hurt a pinned checkpoint that is not named, -EBADMSG
 * if a manifest is damaged that a volume's removal has to write again.
 */
int blx_remove_look(struct blx_agent_store agent, const struct blx_remove_request *request,
                    struct blx_remove_report *report, struct blx_error *err);

/* Removes it, durably. Besides -EBUSY: the agent is connected, or a restore, a prune or another
 * removal is under way. After any other error it may be repeated. */
int blx_remove(struct blx_agent_store agent, const struct blx_remove_request *request,
               struct blx_remove_report *report, struct blx_error *err);

/* Ends removals that were cut off after their folder was renamed, of all agents; `finished` counts
 * the folders. */
int blx_remove_finish(const struct blx_store *store, size_t *finished, struct blx_error *err);
