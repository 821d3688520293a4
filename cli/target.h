/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lies at the place that a restore is to write to. Private to the command.
 *
 * Threads: one. Blocks on the disk.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "cli/holds.h"

enum cli_target_kind {
    CLI_TARGET_FILE,   /* or nothing yet */
    CLI_TARGET_DEVICE, /* a block device */
};

struct cli_target {
    enum cli_target_kind kind;
    bool is_free;        /* of a device: nobody has it open for himself, such as a mount */
    uint64_t size_bytes; /* of a device, or of the file that is there */
    uint64_t free_bytes; /* in the filesystem of a file's folder */
    uint64_t filesystem_bytes;
    char holds[CLI_HOLDS_BYTES]; /* "ext4 'data'", "a gpt partition table"; "": nothing known */
};

/* What cannot be found out stays zero: the restore says why. Looks as root if root visits the store
 * (store/owner.h); so do the others. */
void cli_target_look(const char *path, struct cli_target *target);

bool cli_target_is_folder(const char *path);

/* Whether something that is no link has this name. */
bool cli_target_is_taken(const char *path);

/* -EEXIST if it is a device that holds something which nobody uses just now, so that only its
 * signature keeps it from being overwritten. */
int cli_target_check(const char *path, const struct cli_target *target, struct blx_error *err);

/* A restore that is done. */
struct cli_outcome {
    uint64_t checkpoint;
    const char *agent_id;
    int disks;
    uint64_t written_bytes;
    uint64_t elapsed_ns;
    const char *path;    /* of the first disk; NULL: there is none */
    uint64_t disk_bytes; /* its size at the agent */
    bool is_converted;   /* it is an image of another kind than a raw one */
};

/* One line at the end: what was written, how fast, and what comes next. */
void cli_target_sum_up(const struct cli_outcome *outcome);
