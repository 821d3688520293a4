/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A protected device: the path that the user named, found in the kernel. A partition is read
 * through its own node. It is tracked on its whole disk, limited to its range, because tracepoints
 * report whole disks and absolute sectors, also for writes through a partition.
 *
 * The agent does not keep it open (reach.h): its users may remove it at any time. What has vanished
 * is noticed by agent_device_find_change().
 *
 * Nothing here waits for a disk that does not answer for longer than patience.h says.
 *
 * Threads: immutable once it is found.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/disk/patience.h"
#include "agent/disk/reach.h"
#include "base/error.h"
#include "base/name.h"
#include "wire/message.h"

struct agent_device {
    char path[BLX_TEXT_BYTES]; /* as the user named it */
    char node[BLX_TEXT_BYTES]; /* where that led to: "/dev/dm-3" */
    char name[BLX_NAME_BYTES]; /* the volume's name, from `path` */
    char kernel_name[64];      /* of the device itself: "loop0p1"; names the pins and run files */
    char disk_name[64];        /* of its whole disk: "loop0" */
    uint32_t major, minor;     /* of the device itself */
    uint32_t disk_major, disk_minor;
    uint64_t disk_start_bytes; /* where it begins on its disk; 0 for a whole disk */
    uint64_t size_bytes;
    uint32_t logical_block_bytes; /* alignment that O_DIRECT needs */
    bool bio_based;    /* no /sys/block/DISK/mq: the driver takes bios itself (zram, dm, md) */
    uint64_t disk_seq; /* /sys/block/DISK/diskseq: changes when another medium takes the name; 0
                          before Linux 5.15 */
    char identity[BLX_TEXT_BYTES]; /* WWID, serial or dm/md UUID of the disk, and the partition's
                                      UUID or number; may be empty (loop, zram) */
};

/*
 * Finds the device, and tries to open it. Follows by-id and mapper links. Errors, each with its
 * cause and way out: missing, no block device, no rights, size zero, an NVMe multipath head (not
 * trackable yet: its requests carry the hidden path's number), -ETIME: it does not answer. After
 * -ENOMEDIUM, size zero, the device's names are filled all the same. Nothing stays open.
 */
int agent_device_find(const char *path, struct agent_device *device, struct blx_error *err);

/* How a helper gets at it. */
struct agent_reach agent_device_get_reach(const struct agent_device *device);

/* A call into the device under its name (patience.h). */
int agent_device_run(const struct agent_device *device, const struct agent_patience_call *call,
                     void *arg, struct agent_patience_io *io, uint64_t timeout_ms);

/* pread() of at most AGENT_PATIENCE_DATA_BYTES: how many came, or -errno. -ETIME: no answer. */
ssize_t agent_device_read(const struct agent_device *device, void *buffer, size_t bytes,
                          uint64_t offset);

/* Whether it answers, whatever: reads some sector. 0 or -ETIME. */
int agent_device_knock(const struct agent_device *device);

/* Whether it has not answered for too long, and still does not. `why` gets "'/dev/sdb' does not
 * answer since 23:10:04". */
bool agent_device_is_stuck(const struct agent_device *device, char why[BLX_TEXT_BYTES]);

/*
 * Asks the kernel again. NULL if the device is still the one that was found. Otherwise what has
 * become of it, as the rest of a sentence that begins with its name ("is gone ...", "is no longer
 * the device ..."). Does not read from the device, so that it never waits for one that is failing.
 */
const char *agent_device_find_change(const struct agent_device *device);

/*
 * Whether the block device major:minor lies on `device`. It does if it is `device` itself, a
 * partition of it, or a device-mapper, md or bcache device with such a slave, however deep.
 * `start_bytes` (may be NULL) gets its start on `device`, or UINT64_MAX if it is not one linear
 * range there (only the device itself and its partitions are).
 */
bool agent_device_carries(const struct agent_device *device, uint32_t major, uint32_t minor,
                          uint64_t *start_bytes);

/* Whether anybody's request for the disk is under way now; false if the kernel does not say. */
bool agent_device_is_busy(const struct agent_device *device);

/* Writes in flight on the disk now, from /sys/block/DISK/inflight; -errno if that cannot be
 * read. */
int64_t agent_device_count_writes(const struct agent_device *device);

/*
 * Sectors of writes and discards that the whole disk's requests have completed. This is the
 * kernel's own count in /sys/block/DISK/stat; -errno if that cannot be read. It stands still while
 * the disk's queue/iostats is 0.
 */
int agent_device_read_written_sectors(const struct agent_device *device, uint64_t *sectors);

/* Those of the discards alone. */
int agent_device_read_discarded_sectors(const struct agent_device *device, uint64_t *sectors);
