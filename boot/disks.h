/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checkpoint's disks, for QEMU: nbdkit with our plugin (nbd/plugin.c), which reads the store
 * and keeps what is written elsewhere.
 *
 *     store, overlay ──► nbdkit ──connected sockets──► QEMU
 *
 * All connections are made here and at once, at a socket whose name is gone before anybody could
 * use it: nobody else reaches the disks, and nothing is left if one of the processes is killed.
 *
 * It does not outlive the thread that started it (base/program.h).
 *
 * Threads: one at a time.
 */
#pragma once

#include <stddef.h>

#include "base/error.h"
#include "base/timestamp.h"

struct boot_disks;

struct boot_disks_config {
    const char *plugin; /* a path */
    const char *data_dir, *agent;
    blx_timestamp checkpoint;
    const char *const *keys; /* files */
    size_t key_count;
    const char *overlay; /* a file; "": what is written is forgotten */
    int overlay_fd;      /* instead of it, a file that is open (borrowed); 0: none */
};

/* Returns when `connections` of them are served. -ENOENT if nbdkit or the plugin is missing, with
 * the package's name; -EIO if it does not begin, with what it says. */
int boot_disks_start(const struct boot_disks_config *config, size_t connections,
                     struct boot_disks **disks, struct blx_error *err);

/* Ends nbdkit. NULL is allowed. */
void boot_disks_free(struct boot_disks *disks);

/* The connections; the caller may close one, and sets it to -1 then. */
int *boot_disks_connections(struct boot_disks *disks);

/* To be polled for reading: one that is readable when nbdkit has ended, and what it complains. */
int boot_disks_end_fd(const struct boot_disks *disks);
int boot_disks_error_fd(const struct boot_disks *disks);

/* Its first complaint, such as a damaged frame; "": none, or it was told already. */
const char *boot_disks_complaint(struct boot_disks *disks);
