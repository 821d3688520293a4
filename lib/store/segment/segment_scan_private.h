/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks the frames of an open segment after a crash. Private to lib/store.
 *
 * Threads: no shared state. Waits for the disk.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "wire/frame.h"

/*
 * Reads the frames of `fd` from `offset` to `file_bytes` and calls visit() for each whole one, up
 * to the first place without one, or to visit()'s first error, which is returned. `path` is for
 * messages.
 */
int blx_segment_scan(int fd, const char *path, uint64_t offset, uint64_t file_bytes,
                     int (*visit)(void *arg, const struct blx_frame *frame, uint64_t offset,
                                  struct blx_error *err),
                     void *arg, struct blx_error *err);

/* Whether a whole, valid frame begins at or after `offset` and ends before `file_bytes`: 1 and its
 * place, 0, or -errno. */
int blx_segment_find_frame(int fd, const char *path, uint64_t offset, uint64_t file_bytes,
                           uint64_t *found, struct blx_error *err);
