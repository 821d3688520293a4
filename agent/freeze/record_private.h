/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record of what is about to be frozen: RUN_DIR/frozen-PID, a line "MAJOR:MINOR MOUNT_POINT\0"
 * for each filesystem, written before the first FIFREEZE and emptied after the thaw. Agent and
 * guard hold a lock on it as long as one of them lives; one that is not empty and not locked is
 * what both were killed over. The run directory is a tmpfs: a reboot thaws, and forgets the
 * record.
 *
 * Threads: any, one at a time.
 */
#pragma once

#include "agent/disk/mounts.h"

struct agent_freeze_record {
    int fd; /* -1: there is none */
    char path[PATH_MAX];
};

/* A record that cannot be made is logged; freezing goes on without it. */
void agent_freeze_record_open(const char *run_dir, struct agent_freeze_record *record);

/* Removes it, unless it is not empty: something may still be frozen. */
void agent_freeze_record_close(struct agent_freeze_record *record);

void agent_freeze_record_write(const struct agent_freeze_record *record,
                               const struct agent_mounts *mounts);
void agent_freeze_record_clear(const struct agent_freeze_record *record);
