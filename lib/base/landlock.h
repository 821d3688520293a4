/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows a process only some of the host's files, for good, and to whatever it becomes (Landlock of
 * the kernel, 5.13). It needs no privilege, but PR_SET_NO_NEW_PRIVS. Files in memory lie on a mount
 * of the kernel's own, which it does not bound; nor does it bound sockets, and what changes a file
 * without opening it (truncate, chmod): those are a filter's of calls.
 *
 * Threads: the calling one, and those that it starts.
 */
#pragma once

#include <stddef.h>

enum blx_landlock_access { BLX_LANDLOCK_READ, BLX_LANDLOCK_WRITE /* and read, not execute */ };

struct blx_landlock_place {
    const char *path; /* a folder with all below it, or a file; one that is missing is no gap */
    int fd;           /* instead, if `path` is NULL; -1: none */
    enum blx_landlock_access access;
};

/* 0; -EOPNOTSUPP if this kernel has no Landlock; -errno. */
int blx_landlock_show_only(const struct blx_landlock_place *places, size_t count);
