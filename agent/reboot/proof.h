/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is a save to be believed? Only if what it proves leaves no room for a write that nobody saw. Each
 * function returns NULL, or why not: a reason that goes into the log and `status`, as the reason of
 * a rescan.
 *
 * Between the save and the moment at which the tracker is attached again, a disk may be written by
 *
 *     this kernel, before us      its own count of sectors written since boot is not 0
 *     another system              - the drive counts the write commands (NVMe), and has more;
 *                                 - a filesystem that was mounted has another superblock;
 *                                 - it takes time: the machine was away for longer than in its
 *                                   shortest reboots, or it was not a reboot at all
 *     another machine             the machine was powered off for it: no reboot; or longer away
 *     the boot loader, firmware   what they write is marked in any case (loader.h)
 *     a restored older copy       another superblock; and the dispatcher has another stream, or
 *                                 later frames of it (session/stream_private.h)
 *
 * The time is the proof of a disk whose drive does not count. Whatever runs in between is started
 * by the firmware and ends in a reset, so the firmware runs once more. A reboot that took half as
 * long again as the shortest of the last ones, and no two seconds more, has no room for that.
 *
 * Threads: pure functions.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/reboot/save.h"
#include "wire/message.h"

/* What is found of the boot. */
struct agent_proof_boot {
    bool is_same_boot;                 /* the save's: nothing was booted since */
    int64_t away_s;                    /* from the save to the start of this kernel */
    struct agent_save_history history; /* of the reboots before */
};

enum agent_proof_commands {
    AGENT_PROOF_UNCOUNTED, /* the drive does not tell, now or then */
    AGENT_PROOF_NONE,      /* as many write commands as at the save */
    AGENT_PROOF_SOME,      /* another number */
};

/* What is found of the disk, after the tracker was attached. */
struct agent_proof_disk {
    bool counts;          /* the kernel counts the sectors that are written */
    uint64_t sectors;     /* since boot, of it and of all disks below it */
    bool is_busy;         /* writes are in flight, or nobody knows */
    bool is_same_size;    /* and begins at the same place of its disk */
    bool has_superblocks; /* they are as at the save */
    enum agent_proof_commands commands;
};

/* How long the machine may have been away; 0: nobody knows yet. */
uint32_t agent_proof_limit_s(const struct agent_save_history *history);

/* Whether the machine did nothing but reboot. */
const char *agent_proof_judge_boot(const struct agent_save *save,
                                   const struct agent_proof_boot *boot,
                                   char reason[BLX_TEXT_BYTES]);

/* All of it for one volume. */
const char *agent_proof_judge(const struct agent_save *save, const struct agent_save_volume *volume,
                              const struct agent_proof_boot *boot,
                              const struct agent_proof_disk *disk, char reason[BLX_TEXT_BYTES]);
