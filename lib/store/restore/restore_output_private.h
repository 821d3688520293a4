/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target of a restore: an image file that gets its name at the end, or a block device. Private
 * to lib/store.
 *
 * Onto a device large pieces go past the page cache, which would copy each byte once more and
 * write it back with one thread; small ones go through it, which sorts and joins them.
 *
 * A target with content of its own (--delta, --resume) is read and compared in units of 4 KiB, and
 * units that differ are written. So it does not matter what it held, nor how much of that ever
 * became durable.
 *
 * If root visits the store as its owner (store/owner.h) the target is opened, named and removed as
 * root.
 *
 * Threads: blx_restore_output_write() and _zero() may be called from several at once for different
 * ranges; the rest is the caller's.
 */
#pragma once

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "store/restore/restore_target.h"

enum { BLX_RESTORE_ALIGNMENT = 4096 }; /* of the data that is written */

struct blx_restore_output {
    int fd;
    int direct_fd; /* the device, or the file that is checked, with O_DIRECT; -1: there is none */
    bool device;
    unsigned flags; /* the target's */
    bool compares;  /* it has content of its own */
    bool checks;    /* what differs is an error, and nothing is written */
    bool keeps;     /* the file stays after a failure */
    bool renamed;   /* `partial` was `path` before */
    mode_t mode;    /* that it had then; 0: unchanged */
    atomic_bool touched;
    uint64_t size_bytes;
    atomic_uint_fast64_t written_bytes;
    char path[PATH_MAX];
    char partial[PATH_MAX]; /* "": a device, or finished */
};

/* All checks, then the open. blx_restore_output_done() must follow also after an error. */
int blx_restore_output_open(const struct blx_restore_target *target, uint64_t size_bytes,
                            struct blx_restore_output *output, struct blx_error *err);

/* `offset_bytes` + `bytes` may pass the end; the rest is left out. `data` should be aligned. */
int blx_restore_output_write(struct blx_restore_output *output, const void *data, uint64_t bytes,
                             uint64_t offset_bytes, struct blx_error *err);

/* Reads what is there, within its size; the disk's errors. `buffer` should be aligned. */
int blx_restore_output_read(const struct blx_restore_output *output, void *buffer, size_t bytes,
                            uint64_t offset_bytes, struct blx_error *err);

/* Makes the range read as zeros: nothing to do in a fresh file. */
int blx_restore_output_zero(struct blx_restore_output *output, uint64_t offset_bytes,
                            uint64_t bytes, struct blx_error *err);

/* Lets the disk begin with the writes so far, so that little is left to wait for at the end. */
void blx_restore_output_flush(const struct blx_restore_output *output);

/* Durable, under the name that it has. */
int blx_restore_output_sync(const struct blx_restore_output *output, struct blx_error *err);

/* Durable, and under its final name. */
int blx_restore_output_finish(struct blx_restore_output *output, struct blx_error *err);

/* Closes; a file that was not finished is removed, unless it is to be kept. */
void blx_restore_output_done(struct blx_restore_output *output);

/* "cannot write", with the name that the target has now. */
int blx_restore_output_failed(const struct blx_restore_output *output, int rc,
                              struct blx_error *err);
