/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader asks, the keeper answers: which disks there are, and what their blocks hold. The
 * reader has nothing but this socket, and may ask for nothing but what lies on one of these disks.
 *
 *     reader ──{kind, disk, bytes, offset}──► keeper        FILES_ASK_READ, FILES_ASK_LIST
 *            ◄──────{status, bytes} data──────              status < 0: the data is a text
 *     writer ──{..., offset} data──► keeper                 FILES_ASK_WRITE, if the keeper lets it
 *     reader ──{..., offset}──► keeper                      FILES_ASK_COUNT, if it compares
 *
 * Threads: each side is one thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "files/source.h"

enum { FILES_ASK_MAX_BYTES = 256 << 10 };

/* The reader's side. Free it with free(). NULL: no memory. */
struct files_source *files_blocks_new(int fd);

/* Writes over the checkpoint, to whatever the keeper has for that. `source` is of
 * files_blocks_new(). -EROFS if it has nothing. */
int files_blocks_write(struct files_source *source, uint32_t disk, const void *data, size_t bytes,
                       uint64_t offset_bytes, struct blx_error *err);

/* How many of the bytes were written between the two checkpoints that the keeper compares. `source`
 * is of files_blocks_new(). -EOPNOTSUPP if it compares none. */
int files_blocks_count(struct files_source *source, uint32_t disk, uint64_t bytes,
                       uint64_t offset_bytes, uint64_t *written_bytes, struct blx_error *err);

/* The keeper's side. */
struct files_answers {
    const struct files_disk *disks;
    size_t disk_count;
    int (*read)(void *arg, uint32_t disk, void *buffer, size_t bytes, uint64_t offset_bytes,
                struct blx_error *err);
    /* NULL: nobody writes. */
    int (*write)(void *arg, uint32_t disk, const void *data, size_t bytes, uint64_t offset_bytes,
                 struct blx_error *err);
    /* NULL: nothing is compared. */
    int (*count)(void *arg, uint32_t disk, uint64_t bytes, uint64_t offset_bytes,
                 uint64_t *written_bytes, struct blx_error *err);
    void *arg;
};

/* Answers until the reader has closed its end; -EBADMSG for a request that it may not make; errors
 * of the socket. */
int files_answer(int fd, const struct files_answers *answers, struct blx_error *err);
