/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of QEMU for a machine (hardware.h). It gets everything by descriptors, and
 * neither has a monitor on a terminal, nor default devices, nor may it start programs.
 *
 * Threads: no shared state.
 */
#pragma once

#include "base/error.h"
#include "boot/hardware.h"

/* Descriptors of QEMU's process, besides the standard ones. */
enum {
    BOOT_FD_QMP = 3,
    BOOT_FD_CONSOLE,
    BOOT_FD_FIRMWARE,  /* UEFI: its code */
    BOOT_FD_VARIABLES, /* UEFI: its variables */
    BOOT_FD_REPORTS,
    BOOT_FD_KERNEL,  /* a kernel of our own */
    BOOT_FD_INITRD,  /* its first files */
    BOOT_FD_CHANNEL, /* its port */
    BOOT_FD_DISKS,   /* the first one's connection */
};

enum { BOOT_MAX_WORDS = 64 + 8 * BOOT_MAX_DISKS };

struct boot_arguments {
    char *words[BOOT_MAX_WORDS]; /* owned; NULL ends them */
    size_t count;
};

/* -EINVAL if the bus has no room for so many disks, or the address of VNC is none; -ENOMEM.
 * boot_arguments_done() follows in any case. */
int boot_arguments_make(const struct boot_hardware *hardware, struct boot_arguments *arguments,
                        struct blx_error *err);
void boot_arguments_done(struct boot_arguments *arguments);
