/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parts of sealed segments, in the cache of a copy elsewhere: a sparse file of the whole size that
 * has header, index and footer alone, and the sticky bit as its mark. That is enough to plan. Who
 * reads anything else of it has it made whole first: a process of `blxrep-copy fetch` listens at
 * DIR/fetch.sock, gets the file's path below DIR and a newline, and answers "ok" or the reason why
 * it is not. The whole file then has taken the part's place.
 *
 * A segment of a data directory has no such mark, and nothing here concerns it.
 *
 * Threads: no shared state. Waits for the disk, and for the other process.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/error.h"

#define BLX_SEGMENT_FETCH_SOCKET "fetch.sock"

/* How many bytes at the end of a sealed segment are its index and footer. -EBADMSG: it is none. */
int blx_segment_find_tail(int fd, uint64_t file_bytes, uint64_t *tail_bytes, struct blx_error *err);

/* Makes the empty file a part of that segment, from its tail. -EBADMSG if that is none. */
int blx_segment_write_part(int fd, const void *tail, size_t tail_bytes, uint64_t file_bytes,
                           struct blx_error *err);

static inline bool blx_segment_is_part(const struct stat *st)
{
    return (st->st_mode & S_ISVTX) != 0;
}

/* Has the part at `path` made whole. The error is the other process's. */
int blx_segment_fetch(const char *path, struct blx_error *err);
