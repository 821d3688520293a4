/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program of the host, such as e2fsck, that works on a disk of a checkpoint, whose filesystem may
 * be hostile. It is locked up, and has no disk: it opens a stand-in, an empty file in memory of the
 * disk's size, and the kernel asks us for each read and write of that (seccomp's user
 * notification). We ask the keeper (files/blocks.h), which has the store and the overlay.
 *
 *     e2fsck ──read(stand-in)──► kernel ──► cage ──blocks──► keeper        its memory ◄── cage
 *
 * Nothing is mounted, no device is made, no privilege is needed. The program is nobody's if root
 * starts it. Landlock shows it the host's programs and libraries alone, and if there is no Landlock
 * only root can start it, because then it is nobody. It has no network, starts nothing and signals
 * nobody, and has bounds of memory and time. It ends with the thread that started it.
 *
 * Threads: one.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "files/source.h"

/* What the program is told to open. */
#define PROOF_CAGE_DISK "/proc/self/fd/3"
/* The first of its inputs; the others follow. */
enum { PROOF_CAGE_FIRST_INPUT = 4, PROOF_CAGE_MAX_INPUTS = 4, PROOF_CAGE_SAID_BYTES = 16 * 1024 };

struct proof_cage {
    const char *const *words; /* NULL ends them; the first one is looked for in PATH */
    const char *package;      /* that has it */
    struct files_source *blocks;
    uint32_t disk; /* of blocks */
    uint64_t size_bytes;
    enum proof_cage_access { PROOF_CAGE_READS, PROOF_CAGE_WRITES } access;
    const int *inputs; /* files for it to read; borrowed */
    size_t input_count;
    int wake_fd; /* the program is killed if it is readable; -1: none */
    uint64_t deadline_ns;
};

struct proof_cage_end {
    int status;                       /* as blx_program_wait() returns it */
    char said[PROOF_CAGE_SAID_BYTES]; /* on both outputs, the beginning; foreign text */
    struct blx_error trouble; /* the first block that the keeper did not give; code 0: none */
};

/* Runs the program to its end. -ENOENT if there is none, with its package; -EINTR if it was woken;
 * -ETIME at the deadline; -EOPNOTSUPP if this host cannot lock it up; the overlay's error, such as
 * -ENOSPC, since what is written there is not the checkpoint's. */
int proof_cage_run(const struct proof_cage *cage, struct proof_cage_end *end,
                   struct blx_error *err);
