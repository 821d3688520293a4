/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A frame as it is read from a segment: parsed, decrypted, unpacked, and compared with what an
 * index says of it. Restores and views read frames through this and nothing else.
 *
 * Private to lib/store. Threads: a stored frame belongs to one thread. Blocks on the disk.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "crypt/volume_key.h"
#include "store/segment/segment.h"
#include "wire/frame.h"

enum { BLX_STORED_FRAME_ALIGNMENT = 4096 }; /* of its data in memory */

/* Memory that grows to the size that is needed. */
struct blx_stored_bytes {
    uint8_t *bytes; /* owned */
    size_t size;
};

/* Begins as zero; one after another may be read into it. */
struct blx_stored_frame {
    struct blx_frame frame; /* borrows `packed` */
    struct blx_stored_bytes packed;
    struct blx_stored_bytes data;
};

void blx_stored_frame_done(struct blx_stored_frame *stored);

/* Reads and parses the entry's frame. -EBADMSG with the segment's name; -ENOMEM. */
int blx_stored_frame_fetch(struct blx_stored_frame *stored, const struct blx_segment_reader *reader,
                           const struct blx_index_entry *entry, struct blx_error *err);

/* The same, and decrypts it with `key` (NULL: it must not be encrypted) and unpacks it into
 * `data`. */
int blx_stored_frame_read(struct blx_stored_frame *stored, const struct blx_segment_reader *reader,
                          const struct blx_index_entry *entry, const struct blx_volume_key *key,
                          struct blx_error *err);

/* A frame that came from elsewhere: takes a copy of its bytes, and then parses, decrypts and
 * unpacks it as above. -EBADMSG; -ENOMEM. */
int blx_stored_frame_copy(struct blx_stored_frame *stored, const void *bytes, size_t count,
                          struct blx_error *err);
int blx_stored_frame_parse(struct blx_stored_frame *stored, size_t count,
                           const struct blx_volume_key *key, struct blx_error *err);

/* A place among a frame's extents: entries are looked up in ascending order. */
struct blx_stored_cursor {
    const struct blx_frame *frame;
    uint32_t extent;
    uint64_t data_block; /* where the extent's data begins */
};

/* Whether the frame has the entry's blocks where the index says. */
bool blx_stored_frame_holds(struct blx_stored_cursor *cursor, const struct blx_index_entry *entry);

/* "segment 7 is damaged: its index names other blocks than frame 12 has": -EBADMSG. */
int blx_stored_frame_lacks(const struct blx_segment_reader *reader, uint64_t seq,
                           struct blx_error *err);
