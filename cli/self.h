/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent of this machine tells of itself, over the socket in its run-dir.
 *
 * Threads: one.
 */
#pragma once

#include <stddef.h>

#include "wire/message.h"
#include "wire/protection.h"

struct cli_self {
    struct blx_control_agent agent;
    struct blx_control_self more;
    struct blx_control_disk *disks; /* owned */
    size_t disk_count;
    uint64_t now_realtime_ns; /* when it was asked */
    struct blx_judgement judgement;
};

/* Prints nothing. `self` is written on success only; free it with cli_self_done(). -ENOTCONN: no
 * agent runs here; -EACCES: only root may ask. */
int cli_self_collect(const char *run_dir, struct cli_self *self, struct blx_error *err);
void cli_self_done(struct cli_self *self);
