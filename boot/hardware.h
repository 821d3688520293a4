/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine that a server is booted on.
 *
 * Threads: data; constant while it is used.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "config/config.h"

enum boot_firmware { BOOT_FIRMWARE_BIOS, BOOT_FIRMWARE_UEFI };
enum boot_accelerator { BOOT_EMULATED, BOOT_KVM };

enum {
    BOOT_SATA_DISKS = 6,    /* the ports of its controller */
    BOOT_VIRTIO_DISKS = 24, /* the places on its bus */
    BOOT_SCSI_DISKS = 64,
    BOOT_MAX_DISKS = BOOT_SCSI_DISKS,
};

/* A system of our own that looks at the disks: it is started in place of what they hold. */
struct boot_kernel {
    int image_fd, initrd_fd; /* QEMU's user opens them again; borrowed */
    const char *command_line;
    int channel_fd; /* a socket: in the guest the virtio port BOOT_CHANNEL; borrowed */
};

#define BOOT_CHANNEL "blxrep"

struct boot_hardware {
    const char *name; /* of the machine */
    enum boot_accelerator accelerator;
    enum boot_firmware firmware;
    uint64_t memory_bytes;
    unsigned cpus;
    enum blx_boot_bus bus;
    enum blx_boot_network network;
    const char *vnc;          /* HOST:PORT; NULL: no screen is shown */
    const char *const *disks; /* exports of the server of disks, in the guest's order */
    size_t disk_count;        /* 1 to BOOT_MAX_DISKS */
    size_t boot_disk;         /* of them: the one that is booted from */
    enum boot_restart { BOOT_RESTARTS, BOOT_ENDS } restart; /* if the guest restarts itself */
    /* Whether it has a second serial port, ttyS1, on which it reports to us. */
    enum boot_reports { BOOT_NO_REPORTS, BOOT_REPORTS } reports;
    const struct boot_kernel *kernel; /* NULL: what is on the disks boots */
};
