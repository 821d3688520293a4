/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which devices are to be protected: those that the configuration names and the whole disks that
 * its patterns match at this moment. Disks that the configuration or the dispatcher's policy
 * excludes are left out.
 *
 * `device` is one of
 *
 * - a path: that device, whatever it is, even if it is absent;
 * - a pattern of paths, with any of * ? [: each whole disk that it matches and that can be written
 *   to. Partitions are not taken, because their disk is; name a partition to protect it alone;
 * - "all": every whole disk that can be written to, without loop, ram, zram, CD and floppy drives,
 *   and without devices that lie on other disks (device-mapper, md, bcache).
 *
 * Why whole disks: nothing of a server is missing then. The partition table, the boot loader, a
 * volume group's metadata and the filesystems come back together, on a disk of the same size. A
 * device that lies on other disks is in them already, and would cross the network twice.
 *
 * An exclude is a name ("sdb", "loop*") or a path ("/dev/disk/by-id/usb-*"), with the same
 * patterns. A link in /dev stands for the device that it leads to; nodes.h says how patterns that
 * come from the dispatcher are bounded.
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
    bool named;            /* by its path: its absence is reported */
    uint32_t major, minor; /* 0, 0: it is named, and absent */
    uint64_t disk_seq;     /* /sys/block/DISK/diskseq; 0 before Linux 5.15 */
    uint64_t size_bytes;
    bool refused; /* the last lineup could not open it */
};

enum { AGENT_DISKS_EXCLUDED = 16 };

struct agent_disks {
    struct agent_disk list[BLX_MAX_VOLUMES];
    size_t count;
    size_t left_over; /* found, and more than an agent can have */
    struct agent_disk
        excluded[AGENT_DISKS_EXCLUDED]; /* the first ones that an exclude leaves out */
    size_t excluded_count;              /* not more than fit there */
    uint64_t number;                    /* which refresh of the lineup found them */
};

/* `policy` (may be NULL) excludes, too. -E2BIG for a path that is too long; -ENOMEM. */
int agent_disks_find(const struct blx_config *config, const struct blx_policy_message *policy,
                     struct agent_disks *disks, struct blx_error *err);

/* Whether both are the same devices, with the same media of the same size in them. */
bool agent_disks_equal(const struct agent_disks *a, const struct agent_disks *b);
