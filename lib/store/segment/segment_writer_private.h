/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the parts of the segment writer: making it, recovering it, sealing it. rewrite_group.c
 * writes a file of another name with it. Private to lib/store.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "store/layout_private.h"
#include "store/segment/digest_log_private.h"
#include "store/segment/segment.h"

/* An open segment is sealed when it passes one of these, so that its index stays small in memory
 * and a scan short. */
enum { BLX_SEGMENT_MAX_ENTRIES = 262144, BLX_SEGMENT_MAX_DIGESTS = 4 << 20 };
#define BLX_SEGMENT_MAX_BYTES (1ULL << 30)

struct blx_segment_writer {
    int fd;
    char dir[PATH_MAX / 2];
    char path[PATH_MAX];    /* DIR/open.seg; DIR/rewrite.tmp of a rewrite */
    uint64_t end_bytes;     /* where the next frame goes */
    struct blx_index index; /* in order of arrival; the rank says so too */
    struct blx_segment_summary summary;
    uint8_t version;                 /* of its header */
    struct blx_key_id digest_key_id; /* of the digests that come with plain frames; none: they have
                                        none */
    struct blx_digest_log log;
};

/* Whether the frame's record in the log is there, or about to be written. */
enum blx_digest_state { BLX_DIGESTS_MISSING, BLX_DIGESTS_LOGGED };

/* Takes a frame that lies at `offset` into index and summary, and goes past its digests in the log.
 * -EBADMSG if it does not follow the one before. */
int blx_segment_writer_note(struct blx_segment_writer *writer, const struct blx_frame *frame,
                            uint64_t offset, enum blx_digest_state digests, struct blx_error *err);

/* Empties the file and writes the header; not durable. The log must be initialised. */
int blx_segment_writer_begin(struct blx_segment_writer *writer, struct blx_error *err);

/* Writes digests, index and footer after the frames; durable, except for the file's name.
 * The log stays. */
int blx_segment_writer_finish(struct blx_segment_writer *writer, struct blx_error *err);

/* The header of a new segment. */
struct blx_segment_header_disk blx_segment_header_encode(const struct blx_segment_summary *summary);

struct blx_index_entry_disk blx_segment_entry_encode(const struct blx_index_entry *entry);
