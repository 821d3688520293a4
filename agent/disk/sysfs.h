/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small values of sysfs: one line, read whole. A missing file is an ordinary answer there, so
 * nothing here writes an error message.
 *
 * Which of them wait for a disk? `size`, `stat`, `inflight`, `ro`, `hidden`, `diskseq`, `dev`,
 * `start`, `partition` and the lists of slaves are in the kernel's memory: they answer whatever the
 * disk does. `queue/...` takes a lock that whoever changes the scheduler of a hung disk holds until
 * it answers: agent_sysfs_ask_queue(). Reading the `serial` of a virtio disk is a request to it:
 * agent_device_find() reads names of disks in a helper.
 *
 * Threads: any; there is no shared state. All return 0 or -errno.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The first line of the file that `format` names, without the newline, cut to `bytes`. */
int agent_sysfs_read_text(char *text, size_t bytes, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A decimal number; -EINVAL if it is none. */
int agent_sysfs_read_number(uint64_t *number, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A decimal number of the queue of the disk `name`, or of a partition's disk, read in a helper
 * (patience.h). -ETIME: it does not answer. */
int agent_sysfs_ask_queue(uint64_t *number, const char *name, const char *attribute);

/* A device number, "259:3". */
int agent_sysfs_read_devno(uint32_t *major, uint32_t *minor, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
