/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that unmounts when the mount's own process is gone, however that comes: a mount whose
 * process was killed would stay, and every access to it fail. It keeps the rights of whoever
 * started it, while the mount's process becomes the data directory's owner.
 *
 *     mount's process ──end of a pipe──► guard: unmount, lazily, whatever still has files open
 *
 * Threads: start it before the first thread.
 */
#pragma once

#include <sys/types.h>

#include "base/error.h"

struct mount_guard {
    pid_t pid; /* 0: none */
    int fd;    /* of the pipe; its end tells the guard */
};

/* `mountpoint` and `source` are those of the mount, which is there: no other one is unmounted. */
int mount_guard_start(struct mount_guard *guard, const char *mountpoint, const char *source,
                      struct blx_error *err);

/* Has it unmount, and waits for that. Nothing to do if it was never started. */
void mount_guard_finish(struct mount_guard *guard);
