/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checkpoint that a server is booted from: its disks, in the order in which the server had
 * them, and what is on them to boot from.
 *
 * Threads: one. Blocks on the disk.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/timestamp.h"
#include "boot/hardware.h"
#include "boot/loader.h"
#include "wire/message.h"

struct boot_disk {
    char name[BLX_NAME_BYTES];
    char device[BLX_TEXT_BYTES]; /* as the server called it */
    uint64_t size_bytes;
    unsigned loaders; /* of enum boot_loader */
};

struct boot_checkpoint {
    blx_timestamp timestamp;
    struct boot_disk disks[BOOT_MAX_DISKS];
    size_t count;
    size_t first; /* of them: the first one with a boot loader */
};

struct boot_checkpoint_request {
    const char *data_dir, *agent, *checkpoint;
    const char *const *keys; /* files */
    size_t key_count;
    const char *const *devices; /* only these; none: all */
    size_t device_count;
    /* To read its disks: nothing on them has to boot, and no key is needed to look. */
    enum boot_purpose { BOOT_TO_RUN, BOOT_TO_READ } purpose;
    /* Whether it may lack a disk that was to be protected. */
    enum boot_completeness { BOOT_COMPLETE, BOOT_INCOMPLETE } completeness;
};

/* Reads the store as its owner. -ENOENT for an unknown agent, checkpoint or device; -ENODATA if it
 * lacks a disk; -ENOEXEC if no disk has a boot loader; -E2BIG if there are too many disks; as
 * blx_view_open(). */
int boot_checkpoint_look(const struct boot_checkpoint_request *request,
                         struct boot_checkpoint *checkpoint, struct blx_error *err);

/* As the kernel's names ascend: vdb after vda, vdaa after vdz, nvme10n1 after nvme2n1. */
int boot_disk_compare(const void *one, const void *other);

/* By what the disk has; the BIOS if it has both, since UEFI's entries are not on a disk. */
enum boot_firmware boot_firmware_of(unsigned loaders);
