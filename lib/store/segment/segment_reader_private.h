/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of a sealed segment, each read and checked by itself: segment_reader.c puts them
 * together, segment_check.c wants to know which of them is damaged. Private to lib/store.
 *
 * Threads: as segment.h says.
 */
#pragma once

#include "store/layout_private.h"
#include "store/segment/segment.h"

struct blx_segment_reader {
    int fd;                    /* -1: blx_segment_reader_shrink() has closed it */
    bool is_part;              /* its frames may have to be fetched first: segment_part.h */
    char *path;                /* owned; set by blx_segment_reader_name() */
    uint64_t frames_end_bytes; /* where the digests begin, or the index if there are none */
    uint64_t index_offset_bytes;
    uint64_t digests_checksum; /* as the footer says */
    struct blx_index index;
    struct blx_segment_summary summary; /* its number is the one that is expected */
};

/* The file of segment `number` in that folder; 0: of the open one. There are as many readers as a
 * chain has segments, so each has only as much memory as its path needs. */
int blx_segment_reader_name(struct blx_segment_reader *reader, const char *volume_dir,
                            uint32_t number, struct blx_error *err);

/* -EBADMSG if the part is damaged; each needs `fd`, `path` and the number. */
int blx_segment_reader_header(const struct blx_segment_reader *reader,
                              struct blx_segment_header_disk *header, struct blx_error *err);

/* Fills frames_end_bytes and the summary. */
int blx_segment_reader_footer(struct blx_segment_reader *reader, uint64_t file_bytes,
                              struct blx_segment_footer_disk *footer, struct blx_error *err);

/* Fills the index; the footer must have been good. */
int blx_segment_reader_entries(struct blx_segment_reader *reader,
                               const struct blx_segment_footer_disk *footer, struct blx_error *err);

/* blx_segment_reader_open() without its last step, the index: blx_segment_reader_entries() is still
 * to be called. The footer says how large the index is. */
int blx_segment_reader_begin(const char *volume_dir, uint32_t number,
                             struct blx_segment_reader **reader,
                             struct blx_segment_footer_disk *footer, struct blx_error *err);
