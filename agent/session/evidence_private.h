/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Evidence outranks belief: what the kernel saw written while the devices were read frozen. A block
 * that is dirty again after it was claimed, or for the first time after the claim passed it, was
 * written during the cut. If it lies outside of what is frozen the disk was not of one instant,
 * whatever the list of mounts says: a raw partition, a filesystem that nobody has found. Swap is
 * excepted: nobody restores it. Inside of what is frozen only discards (fstrim) happen.
 *
 * Threads: the session's control thread. Only agent_evidence_find_writer() runs inside the freeze;
 * it allocates nothing.
 */
#pragma once

#include "agent/agent.h"
#include "base/cleanup.h"

/* A part of a volume whose writes are no evidence. */
struct agent_evidence_range {
    size_t volume;
    size_t mount; /* while this one is frozen; SIZE_MAX: always (swap) */
    uint64_t begin_bytes, end_bytes;
};

struct agent_evidence {
    struct agent_evidence_range *ranges; /* owned */
    size_t count, capacity;
};

/* Finds the places of the filesystems and the swap. Call it before the freeze. */
int agent_evidence_prepare(const struct agent *agent, const struct agent_mounts *mounts,
                           struct agent_evidence *evidence, struct blx_error *err);
void agent_evidence_done(struct agent_evidence *evidence);
#define AGENT_CLEANUP_EVIDENCE BLX_CLEANUP(agent_evidence_done)

/* Whether the volume has a frozen filesystem or swap: then its writes are judged by their place. */
bool agent_evidence_covers(const struct agent_evidence *evidence, const struct agent *agent,
                           size_t volume);

/* The first block of the volume that was written and is neither frozen nor swap; false: none. */
bool agent_evidence_find_writer(const struct agent_evidence *evidence, const struct agent *agent,
                                size_t volume, uint64_t *block);

/* The partition with the block, or the device itself: "/dev/sda3". After the freeze. */
void agent_evidence_name(const struct agent *agent, size_t volume, uint64_t block, char name[80]);
