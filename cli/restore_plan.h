/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a restore writes and onto what, told before (--dry-run) or after it. Private to the command.
 *
 * Threads: one. Blocks on the disk, because it looks at the targets.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "config/config.h"
#include "store/checkpoint/manifest.h"

/* One disk of it. */
struct cli_restore_disk {
    const struct blx_manifest_volume *volume;
    const char *path;       /* its target */
    uint64_t to_write;      /* bytes; 0 if a damaged chain does not tell */
    uint64_t written_bytes; /* by the restore */
    uint64_t lost_bytes;    /* which are zeros or older content, since the checkpoint is damaged */
};

struct cli_restore_plan {
    const struct blx_config *config;
    const struct blx_manifest *manifest;
    const struct cli_restore_disk *disks;
    size_t disk_count;
    uint64_t elapsed_ns; /* of the restore that is done */
};

/* For people, before it. */
void cli_restore_plan_print(const struct cli_restore_plan *plan);

/* As JSON, before it if --dry-run says so, else after it. */
void cli_restore_plan_print_json(const struct cli_restore_plan *plan);
