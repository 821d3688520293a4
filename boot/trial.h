/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a guest gets on under KVM. /dev/kvm may open, and even run a BIOS, and yet never a 64-bit
 * Linux, as in some virtual machines: there the vCPU crawls, stands still, or QEMU gives up. So a
 * guest is watched from its start:
 *
 *     UNDECIDED ──it writes to a disk, or its kernel was seen at two places──► GETS_ON
 *         └──nothing is read and nothing is said any more, for STILL_MS──► STUCK
 *
 * A boot loader that waits for a person counts as stuck, too: then it goes on emulated.
 *
 * Threads: the struct is the caller's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum boot_verdict { BOOT_UNDECIDED, BOOT_GETS_ON, BOOT_STUCK };

enum { BOOT_TRIAL_STILL_MS = 8 * 1000 };

/* What is seen at one moment. */
struct boot_sample {
    bool running;             /* QEMU says so */
    uint64_t read_bytes;      /* by the guest, of all disks */
    uint64_t written_bytes;   /* likewise */
    uint64_t said_bytes;      /* on the console */
    uint64_t program_counter; /* of the first vCPU */
};

struct boot_trial {
    enum boot_verdict verdict;
    struct boot_sample last;
    uint64_t moved_ms;       /* when something was read or said last */
    uint64_t kernel_counter; /* where its kernel was seen first; 0: it was not */
};

/* The samples' times ascend; the first one is that of the start. */
enum boot_verdict boot_trial_judge(struct boot_trial *trial, const struct boot_sample *sample,
                                   uint64_t now_ms);
