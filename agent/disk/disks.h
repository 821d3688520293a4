/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which devices are to be protected: those that the configuration names, the whole disks that its
 * patterns stand for at this moment, less what it or the dispatcher's policy excludes.
 *
 * `device` is one of
 *
 * - a path: that device, whatever it is, and also while it is not there;
 * - a pattern of paths, with any of * ? [: each whole disk that it matches and that can be written
 *   to. A partition is not taken: its disk is, or it is named;
 * - "all": every whole disk that can be written to, without loop, ram, zram, CD and floppy drives,
 *   and without what lies on other disks (device-mapper, md, bcache).
 *
 * Whole disks, because nothing of a server is missing then: the partition table, the boot loader, a
 * volume group's metadata and the filesystems come back together, on a disk of the same size. What
 * lies on other disks is in them already, and would cross the network twice.
 *
 * An exclude is a name ("sdb", "loop*") or a path ("/dev/disk/by-id/usb-*"), with the same
 * patterns; a link counts as what it leads to where it lies in /dev.
 *
 * Threads: no shared state. Looking blocks on sysfs for some milliseconds.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "config/config.h"
#include "wire/message.h"

struct agent_disk {
    char path[BLX_TEXT_BYTES];
    bool named;            /* by its path: it is missed when it is not there */
    uint32_t major, minor; /* 0, 0: it is named, and not there */
    uint64_t disk_seq;     /* /sys/block/DISK/diskseq; 0 before Linux 5.15 */
    uint64_t size_bytes;
    bool refused; /* the last lineup could not open it */
};

struct agent_disks {
    struct agent_disk list[BLX_MAX_VOLUMES];
    size_t count;
    size_t left_over; /* found, and more than an agent can have */
    uint64_t number;  /* of the lineup whose they are */
};

/* `policy` (may be NULL) excludes, too. -E2BIG for a path that is too long; -ENOMEM. */
int agent_disks_find(const struct blx_config *config, const struct blx_policy_message *policy,
                     struct agent_disks *disks, struct blx_error *err);

/* The same devices, with the same media of the same size in them. */
bool agent_disks_equal(const struct agent_disks *a, const struct agent_disks *b);
