/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The small virtual machine that reads what only a kernel reads: other filesystems than ext, LVM
 * and RAID. A kernel of this host runs in it, emulated by QEMU (boot/guest.h), with the
 * checkpoint's disks and nothing else, neither a network nor a file of this host.
 *
 *     store ──► nbdkit ──► QEMU: kernel, blxrep-files-guest ──port──► this process ──pipe──► writer
 *
 * What the guest tells are records, which this process hands on as bytes. What a mount writes
 * there, such as a journal's blocks, nbdkit forgets. If this process ends, all the others do.
 *
 * Threads: one, which must live as long as the machine shall.
 */
#pragma once

#include "base/error.h"
#include "config/config.h"
#include "files/walk.h"

struct files_machine;

/* The config is borrowed, and so is the pipe. -ENOENT if something that it needs is missing, with
 * its package's name; -EACCES if it may not be read; as boot_guest_start(). */
int files_machine_start(const struct blx_config *config, enum files_task task, int records_fd,
                        struct files_machine **machine, struct blx_error *err);

/* Until it has ended: -ESHUTDOWN, which is a failure only if its records have no end; -ETIME if it
 * gets nowhere for too long; errors of the pipe, and as boot_guest_step(). */
int files_machine_follow(struct files_machine *machine, struct blx_error *err);

void files_machine_free(struct files_machine *machine); /* NULL is allowed */
