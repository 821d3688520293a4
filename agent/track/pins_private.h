/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device's directory in bpffs, /sys/fs/bpf/blxrep/KERNEL_NAME/, which keeps the tracker alive
 * while no agent runs, and the lock on it that makes one agent process per device.
 *
 * The lock is the flock() of the directory itself: it needs no file, does not depend on --run-dir,
 * and the kernel releases it with the process. Names in bpffs must not have a dot.
 *
 * Threads: one at a time.
 */
#pragma once

#include <limits.h>

#include "base/error.h"

struct agent_pins {
    char path[PATH_MAX]; /* of the directory */
    int dir_fd;          /* holds the lock; -1 while closed */
};

/*
 * Mounts bpffs on /sys/fs/bpf if it is missing, makes the directory and locks it. -EBUSY if another
 * process has the lock (the message has its pid if the kernel reports it), -EROFS and -EPERM with
 * the way out.
 */
int agent_pins_open(const char *kernel_name, struct agent_pins *pins, struct blx_error *err);

/* Releases the lock; the pins stay. */
void agent_pins_close(struct agent_pins *pins);

/* Removes every pin, the directory stays and stays locked. */
int agent_pins_clear(const struct agent_pins *pins, struct blx_error *err);

/* Removes every pin and the directory, and closes. */
void agent_pins_remove(struct agent_pins *pins);

/* The path of a pin; -ENAMETOOLONG. */
int agent_pins_format_path(const struct agent_pins *pins, const char *name, char path[PATH_MAX],
                           struct blx_error *err);
