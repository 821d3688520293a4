/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader asks, the keeper answers: which disks there are, and what their blocks hold. The
 * reader has nothing but this socket, and may ask for nothing but what lies on one of these disks.
 *
 *     reader ──{disk, bytes, offset}──► keeper        disk FILES_ASK_DISKS: the list
 *            ◄──{status, bytes} data──                status < 0: the data is a text
 *
 * Threads: each side is one thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "files/source.h"

#define FILES_ASK_DISKS UINT32_MAX

enum { FILES_ASK_MAX_BYTES = 256 << 10 };

/* The reader's side. Free it with free(). NULL: no memory. */
struct files_source *files_blocks_new(int fd);

/* The keeper's side. */
struct files_answers {
    const struct files_disk *disks;
    size_t disk_count;
    int (*read)(void *arg, uint32_t disk, void *buffer, size_t bytes, uint64_t offset_bytes,
                struct blx_error *err);
    void *arg;
};

/* Answers until the reader has closed its end; -EBADMSG for a request that it may not make; errors
 * of the socket. */
int files_answer(int fd, const struct files_answers *answers, struct blx_error *err);
