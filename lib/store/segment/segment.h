/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A segment: header, frames, and once it is sealed an index and a footer. STORE.md gives the bytes.
 *
 *     open.seg          header | frame | frame | ...                      append-only
 *     NNNNNNNN.seg      header | frame | frame | ... | index | footer     sealed: immutable
 *
 * I10: a sealed segment changes in two ways only. Frames that no checkpoint needs become holes
 * (prune.h), or are left out of a file that takes its place (rewrite.h). Sealing writes index and
 * footer, fsyncs, renames, and fsyncs the directory. After a crash open.seg is scanned up to the
 * first place that holds no whole frame, and the rest is cut off. An index and footer that were
 * written but not renamed are no frame either, so they are cut off too.
 *
 * Threads: one writer per volume (the session). Readers open sealed segments only and need no lock.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/segment/index.h"
#include "wire/frame.h"

/* "DIR/NNNNNNNN.seg": the place of segment `number` once it is sealed. */
int blx_segment_path(const char *volume_dir, uint32_t number, char path[PATH_MAX],
                     struct blx_error *err);

/* The number in a sealed segment's name; 0 if the name is none. */
uint32_t blx_segment_number(const char *name);

/* The number in a segment file's header. -EBADMSG if the header is damaged or torn. */
int blx_segment_peek_number(const char *path, uint32_t *number, struct blx_error *err);

struct blx_segment_writer; /* an open.seg */

/* How an existing open.seg was cut off when it was opened. */
struct blx_segment_recovery {
    uint64_t cut_bytes;
    char damage[256]; /* whole frames were among them: why they cannot stay; empty: a torn end */
};

/*
 * Opens or makes DIR/open.seg in `volume_dir`; a new one will be `number` when it is sealed. An
 * existing one keeps its number, which must not be lower, and is recovered: it is scanned, cut off
 * after the last frame that follows the one before, and fsynced. `recovery` may be NULL.
 * -EBADMSG if its header is damaged or it is of another block size; it is then left as it was.
 */
int blx_segment_writer_open(const char *volume_dir, uint32_t number, unsigned block_shift,
                            struct blx_segment_writer **writer,
                            struct blx_segment_recovery *recovery, struct blx_error *err);
void blx_segment_writer_close(struct blx_segment_writer *writer);

/* The key of the digests that come with plain frames (frame->digests) from now on; those of
 * encrypted frames are their own key's. Without it such digests are not kept. */
void blx_segment_writer_set_digest_key(struct blx_segment_writer *writer,
                                       const struct blx_key_id *key_id);

/* Appends a parsed frame's bytes, and keeps its digests. Not durable before
 * blx_segment_writer_sync(). After an error the writer must be closed. */
int blx_segment_writer_append(struct blx_segment_writer *writer, const struct blx_frame *frame,
                              struct blx_error *err);
int blx_segment_writer_sync(struct blx_segment_writer *writer, struct blx_error *err);

struct blx_segment_summary {
    uint32_t number;
    unsigned block_shift;
    bool rewritten; /* its frames are the needed ones of one or more older segments (rewrite.h): of
                       several generations, and with gaps between their seqs */
    uint64_t frame_count;
    uint64_t changed_blocks;      /* distinct blocks; 0 as long as it is open */
    uint64_t stored_bytes;        /* of the frames */
    uint64_t first_seq, last_seq; /* of the last generation in it; 0: no frame */
    struct blx_generation last_generation;
    struct blx_key_id key_id;        /* of all its frames; none: they are not encrypted */
    struct blx_key_id digest_key_id; /* of the digests in its table; none: there are none */
    uint32_t digest_count;           /* 0 as long as it is open */
};
void blx_segment_writer_summary(const struct blx_segment_writer *writer,
                                struct blx_segment_summary *summary);

/* Whether it is time to seal it: it has as many bytes, index entries (about 50 bytes each, in
 * memory) or digests as a segment should have; or it is of an older version, and digests of that
 * key are about to come (NULL: none). */
bool blx_segment_writer_is_full(const struct blx_segment_writer *writer,
                                const struct blx_key_id *digest_key_id);

/*
 * Writes index and footer and renames to NNNNNNNN.seg; the writer is closed whatever happens.
 * `summary` may be NULL.
 */
int blx_segment_writer_seal(struct blx_segment_writer *writer, struct blx_segment_summary *summary,
                            struct blx_error *err);

/*
 * Writes a sealed segment without a frame as DIR/NNNNNNNN.seg, in place of one that was lost, so
 * that the numbers go on following each other. Durable when it returns 0. Replaces an existing
 * file.
 */
int blx_segment_write_empty(const char *volume_dir, uint32_t number, unsigned block_shift,
                            struct blx_error *err);

struct blx_segment_reader;

/* Opens a sealed segment and checks header, footer and index (checksums). Errors name the file. */
int blx_segment_reader_open(const char *volume_dir, uint32_t number,
                            struct blx_segment_reader **reader, struct blx_error *err);
void blx_segment_reader_close(struct blx_segment_reader *reader);
const struct blx_index *blx_segment_reader_index(const struct blx_segment_reader *reader);
const struct blx_segment_summary *blx_segment_reader_summary(
    const struct blx_segment_reader *reader);

enum blx_segment_file { BLX_SEGMENT_KEEP_FILE, BLX_SEGMENT_CLOSE_FILE };

/*
 * Gives up the index, and the file unless it is to be kept; without it blx_segment_reader_frame()
 * opens the file for each frame. For a chain of more segments than a process may have files open.
 */
void blx_segment_reader_shrink(struct blx_segment_reader *reader, enum blx_segment_file file);

/*
 * Reads `count` digests from `place` on of the segment's table into `digests`, as they are: their
 * checksum is verify's affair, since a damaged one only costs a rescan a block. Thread-safe
 * (pread). The disk's errors; -EBADMSG if the file is too short.
 */
int blx_segment_reader_digests(const struct blx_segment_reader *reader, uint32_t place,
                               uint32_t count, uint8_t *digests, struct blx_error *err);

/*
 * Reads and validates the frame at `offset` into `buffer` (at least `frame_bytes`); `frame` borrows
 * it. Thread-safe (pread). -EBADMSG names the segment and the offset; -ENOMEM.
 */
int blx_segment_reader_frame(const struct blx_segment_reader *reader, uint64_t offset,
                             uint32_t frame_bytes, void *buffer, struct blx_frame *frame,
                             struct blx_error *err);

/* Has the kernel begin to read the frame. For one that is read soon. */
void blx_segment_reader_prefetch(const struct blx_segment_reader *reader, uint64_t offset,
                                 uint32_t frame_bytes);
