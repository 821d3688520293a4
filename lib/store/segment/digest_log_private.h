/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The digests of an open segment's blocks, in a file beside it (open.digests) until the segment is
 * sealed, which orders them into its table. STORE.md gives the bytes: a record for each frame that
 * has data, in the frames' order, so that the frames alone say where a record is.
 *
 * The file is never synced, and nothing in it is trusted: a record's checksum covers its frame's
 * own, so what a crash tore, or left of another segment, is no record. A frame without one costs a
 * rescan that it unpacks the frame; nothing is lost.
 *
 * Private to lib/store. Threads: the segment's writer. Waits for the disk.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "wire/frame.h"

struct blx_digest_log {
    int fd; /* -1: no record is known yet */
    char path[PATH_MAX];
    struct blx_key_id key_id; /* of all its records; none: there is none yet */
    uint64_t end;             /* the place of the next frame's record; places count digests */
};

/* For the segment file at `segment_path`; makes and opens nothing. */
int blx_digest_log_init(struct blx_digest_log *log, const char *segment_path,
                        struct blx_error *err);

/* Opens what there is, to be found again frame by frame. A file that is missing is none. */
int blx_digest_log_reopen(struct blx_digest_log *log, struct blx_error *err);

/* Whether digests of that key can go on here: a log has those of one key. */
bool blx_digest_log_takes(const struct blx_digest_log *log, const struct blx_key_id *key_id);

/* The place of the first digest of the next frame, which blx_digest_log_pass() goes past. */
uint32_t blx_digest_log_next(const struct blx_digest_log *log);
void blx_digest_log_pass(struct blx_digest_log *log, const struct blx_frame *frame);

/* Writes the next frame's record: frame->digests, of that key. The first one empties the file. */
int blx_digest_log_write(struct blx_digest_log *log, const struct blx_frame *frame,
                         const struct blx_key_id *key_id, struct blx_error *err);

/* 1: the next frame's record is there, of the log's key; 0: it is not; -errno. */
int blx_digest_log_find(struct blx_digest_log *log, const struct blx_frame *frame,
                        struct blx_error *err);

/* `count` digests from `place` on. */
int blx_digest_log_read(const struct blx_digest_log *log, uint32_t place, uint32_t count,
                        uint8_t *digests, struct blx_error *err);

/* Closes the file, which stays. */
void blx_digest_log_close(struct blx_digest_log *log);

/* Closes and removes it. */
int blx_digest_log_remove(struct blx_digest_log *log, struct blx_error *err);
