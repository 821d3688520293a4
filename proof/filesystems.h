/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which filesystems a checkpoint has, and whether they are whole: e2fsck, xfs_repair and btrfs
 * check them, caged (cage.h). Only a few fixed bytes are looked at outside of a cage.
 *
 * A journal of ext4 is replayed first, into the overlay, as a boot would do. That of XFS cannot be
 * replayed without a kernel: what xfs_repair finds then is told as it is.
 *
 * Threads: one.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "proof/bench.h"

enum proof_kind {
    PROOF_KIND_NONE, /* nothing that is known: empty, or a boot loader's */
    PROOF_KIND_EXT,  /* ext2, ext3 or ext4 */
    PROOF_KIND_XFS,
    PROOF_KIND_BTRFS, /* on one disk */
    PROOF_KIND_OTHER, /* something known that nobody checks */
    PROOF_KINDS
};

struct proof_filesystem {
    enum proof_kind kind;
    char name[24];      /* "ext4", "vfat", "LVM"; "" for NONE */
    int needs_recovery; /* of ext: 1 if its journal has to be replayed */
};

/* Looks at the disk's first bytes. Errors as the keeper's. */
int proof_filesystem_find(const struct proof_bench *bench, uint32_t disk,
                          struct proof_filesystem *found, struct blx_error *err);

/* What the first 68 KiB of a disk say; fewer if it is smaller. Pure. */
void proof_filesystem_tell(const uint8_t *head, size_t bytes, struct proof_filesystem *found);
enum { PROOF_HEAD_BYTES = 68 * 1024 };

struct proof_findings {
    unsigned clean, damaged, unchecked;
    char seen[400];   /* "2 filesystems are clean (vda1 ext4, vda3 xfs); not checked: vda2 (LVM)" */
    char reason[400]; /* of the first damaged one; foreign text in it; "": none */
};

/* Checks all of them. Errors as proof_cage_run()'s and the keeper's: then nothing is known. */
int proof_filesystems_check(const struct proof_bench *bench, struct proof_findings *findings,
                            struct blx_error *err);
