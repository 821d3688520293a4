/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the parts of the segment writer: making it, recovering it, sealing it. rewrite_group.c
 * writes a file of another name with it. Private to lib/store.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "store/layout_private.h"
#include "store/segment/segment.h"

/* An open segment is sealed when it passes one of these, so that its index stays small in memory
 * and a scan short. */
enum { BLX_SEGMENT_MAX_ENTRIES = 262144 };
#define BLX_SEGMENT_MAX_BYTES (1ULL << 30)

struct blx_segment_writer {
    int fd;
    char dir[PATH_MAX / 2];
    char path[PATH_MAX];    /* DIR/open.seg; DIR/rewrite.tmp of a rewrite */
    uint64_t end_bytes;     /* where the next frame goes */
    struct blx_index index; /* in order of arrival; the rank says so too */
    struct blx_segment_summary summary;
};

/* Takes a frame that lies at `offset` into index and summary. -EBADMSG if it does not follow the
 * one before. */
int blx_segment_writer_note(struct blx_segment_writer *writer, const struct blx_frame *frame,
                            uint64_t offset, struct blx_error *err);

/* Empties the file and writes the header; not durable. */
int blx_segment_writer_begin(struct blx_segment_writer *writer, struct blx_error *err);

/* Writes index and footer after the frames; durable, except for the file's name. */
int blx_segment_writer_finish(struct blx_segment_writer *writer, struct blx_error *err);

/* The header of a new segment. */
struct blx_segment_header_disk blx_segment_header_encode(const struct blx_segment_summary *summary);

struct blx_index_entry_disk blx_segment_entry_encode(const struct blx_index_entry *entry);
