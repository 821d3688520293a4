/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A walk through a segment's frames, which notes each damaged one and builds an index. Private to
 * lib/store: segment_check.c, which reads header, index and footer, is its only user.
 *
 * Threads: a walk belongs to one thread. Waits for the disk.
 */
#pragma once

#include "store/segment/segment_findings_private.h"
#include "store/segment/segment_reader_private.h"
#include "store/segment/segment_writer_private.h"

/* A check under way. */
struct blx_segment_walk {
    const struct blx_segment_request *request;
    struct blx_segment_findings *findings;
    struct blx_segment_reader reader; /* header, footer and index, as far as they could be read */
    bool footer_good, index_good;
    struct blx_index named;            /* a copy of the index in order of the frames */
    size_t next_named;                 /* the first entry of `named` that the walk has not passed */
    struct blx_segment_writer rebuilt; /* takes the frames in as a writer does */
    uint8_t *frame, *data; /* as large as the file needs them: most segments are small */
    size_t data_bytes;
    bool digests_good; /* the table of digests has its checksum */
};

/* Notes a fault of the file. -ENOMEM. */
int blx_segment_walk_fault(struct blx_segment_walk *walk, uint64_t offset, uint64_t bytes,
                           enum blx_segment_harm harm, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* Counts for the progress. */
void blx_segment_walk_count(const struct blx_segment_walk *walk, uint64_t bytes);

/* Makes `named` of the reader's index. -ENOMEM. */
int blx_segment_walk_prepare(struct blx_segment_walk *walk);

/* From the header to `end`; the last frame ends at `frames_end`. -ENOMEM. */
int blx_segment_walk_frames(struct blx_segment_walk *walk, uint64_t end, uint64_t *frames_end);

/* Compares the frames' index and summary with the stored ones, as far as these are good.
 * -ENOMEM. */
int blx_segment_walk_judge(struct blx_segment_walk *walk);
