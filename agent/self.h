/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent tells `blxrep status` of itself (teller.h): the same facts as the dispatcher tells
 * of it, so that one judgement (wire/protection.h) serves both, and what only the agent knows. The
 * agent's threads note each fact as it comes about, and whoever asks gets a copy.
 *
 * Threads: agent->lock guards all of it. The functions take it, except those that end in _locked.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "agent/disk/disks.h"
#include "base/error.h"
#include "wire/message.h"

struct agent;

/* Volumes, refusals, and those that an exclude leaves out. */
enum { AGENT_SELF_DISKS = 2 * BLX_MAX_VOLUMES + AGENT_DISKS_EXCLUDED };

struct agent_self {
    struct blx_control_agent agent; /* but for the times, which a copy has */
    struct blx_control_self more;   /* the same */
    struct blx_control_disk disks[AGENT_SELF_DISKS];
    size_t disk_count;
    struct blx_checkpoint_message cut; /* CHECKPOINT was sent for it, and DONE has not come */
    uint64_t cut_unreadable_bytes;
    uint64_t begun_ns;     /* blx_clock_ns(), like the others */
    uint64_t connected_ns; /* when the session began; 0: none is there */
    uint64_t left_ns;      /* when the last one ended, or this process began */
    uint64_t refused_ns;   /* when `more.refusal` was noted */
};

/* At the start of the agent, before other threads run. */
void agent_self_begin(struct agent *agent);

/* A session begins: the handshake is over. [main thread] */
void agent_self_note_session(struct agent *agent, const struct blx_welcome *welcome);

/* It ended, or none could begin: the reason, as agent_control_run() returns it. [main thread] */
void agent_self_note_end(struct agent *agent, int rc, const struct blx_error *error);

/* How much waits, and of which disk. `volumes` are the agent's volumes, in their order; the disks
 * that are refused or excluded are added here. [main thread] */
void agent_self_note_status(struct agent *agent, const struct blx_status *status,
                            const struct blx_control_disk *volumes);

/* CHECKPOINT is sent; the dispatcher has committed it; there is none, and why. */
void agent_self_note_cut_locked(struct agent *agent, const struct blx_checkpoint_message *cut,
                                uint64_t unreadable_bytes);
void agent_self_note_commit_locked(struct agent *agent, blx_timestamp timestamp);
void agent_self_note_failure(struct agent *agent, const char reason[BLX_TEXT_BYTES]);

/* The dispatcher's policy, before it becomes agent->policy. */
void agent_self_note_policy_locked(struct agent *agent, const struct blx_policy_message *policy);

/* All of it as it is now, with every time filled in. */
void agent_self_copy(struct agent *agent, struct agent_self *copy);
