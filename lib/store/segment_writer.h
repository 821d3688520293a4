/*
 * What the parts of the segment writer share: making it, recovering it, sealing it. Private to
 * lib/store.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "store/layout.h"
#include "store/segment.h"

struct blx_segment_writer {
    int fd;
    char dir[PATH_MAX / 2];
    char path[PATH_MAX];    /* DIR/open.seg */
    uint64_t end_bytes;     /* where the next frame goes */
    struct blx_index index; /* in order of arrival; the rank says so too */
    struct blx_segment_summary summary;
};

/* Takes a frame that lies at `offset` into index and summary. -EBADMSG where it does not follow the
 * one before. */
int blx_segment_writer_note(struct blx_segment_writer *writer, const struct blx_frame *frame,
                            uint64_t offset, struct blx_error *err);

/* The header of a new segment. */
struct blx_segment_header_disk blx_segment_header_encode(uint32_t number, unsigned block_shift);

struct blx_index_entry_disk blx_segment_entry_encode(const struct blx_index_entry *entry);
