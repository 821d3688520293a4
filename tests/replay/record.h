/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of disk calls (base/sys.h) that does each call and notes it on a struct disk. It may
 * have room for so many bytes only, and it calls back: before each flush, and before each call that
 * changes something, so that other work comes in between.
 *
 * Threads: one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "disk.h"

enum record_flush { RECORD_FLUSHED, RECORD_REFUSED };

struct recorder {
    struct disk *disk; /* borrowed */
    /* Before each fsync and fdatasync, and before each call that changes something. Both may use
     * the store, with this table or with another one. A flush that is refused fails with EIO: the
     * process goes on without it, as if it had died before and begun again. */
    enum record_flush (*before_flush)(void *arg);
    void (*before_change)(void *arg);
    void *arg;
    bool is_limited;
    uint64_t room_bytes; /* that are free, if it is limited */
    uint64_t refused;    /* calls that failed for want of room */
    uint64_t flushes, holes;
};

/* From now on lib's calls are recorded there, until another table is put in the place. Returns the
 * recorder before; it is to be started again after that. */
struct recorder *record_start(struct recorder *recorder);
