/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small values of sysfs: one line, read whole. A missing file is an ordinary answer there, so
 * nothing here writes an error message.
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

/* A device number, "259:3". */
int agent_sysfs_read_devno(uint32_t *major, uint32_t *minor, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
