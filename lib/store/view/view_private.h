/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Views of other things than a checkpoint's data: image.h has the frames that were received after
 * it, and for encrypted ones the blocks' digests in place of their data.
 *
 * Private to lib/store.
 */
#pragma once

#include "store/view/plan_private.h"
#include "store/view/stored_frame_private.h"
#include "store/view/view.h"

/* An entry of a plan's index with this segment number stands for blocks that nobody knows: reading
 * them is an error. */
#define BLX_VIEW_UNKNOWN UINT32_MAX

enum blx_view_content {
    BLX_VIEW_CONTENT_DATA,
    BLX_VIEW_CONTENT_DIGESTS /* a block's keyed digest stands in its place */
};

/* Where a block's digest comes from. */
enum blx_view_tables {
    BLX_VIEW_TABLES_USED,   /* from the segment's table, if it has one, else as below */
    BLX_VIEW_TABLES_IGNORED /* from inside the encrypted frame, or the plain frame's data */
};

struct blx_view_source {
    /* Adds the window's chain to the plan, which has its limits; the same each time. */
    int (*add)(void *arg, struct blx_plan *plan, struct blx_error *err);
    void (*done)(void *arg); /* NULL: nothing is to be freed */
    /* For frames from elsewhere: fills `stored`, unpacked, with the entry's. Called from several
     * threads at once, as add() is not. NULL: they are in the plan's segments. */
    int (*fetch)(void *arg, const struct blx_index_entry *entry, struct blx_stored_frame *stored,
                 struct blx_error *err);
    void *arg;
    enum blx_view_content content;
    struct blx_key_id key_id;                /* that all frames must have; none: not encrypted */
    const struct blx_volume_key *key;        /* copied; NULL: none, or the digests are wanted */
    struct blx_key_id digest_key_id;         /* of the digests that are wanted */
    const struct blx_volume_key *digest_key; /* copied; makes those of plain frames */
    enum blx_view_tables tables;
    struct blx_frame_cache *cache;
    size_t max_entries;
    size_t max_map_bytes;
};

/* A source of a checkpoint's frames, which it holds until done(). The keys and the content are the
 * caller's to set; the request's are not used. Errors as blx_view_open() has them. */
int blx_view_take_checkpoint(const struct blx_view_request *request, struct blx_view_source *source,
                             struct blx_error *err);

/* Takes over source->arg, also after an error. */
int blx_view_open_source(const struct blx_view_source *source, struct blx_view **view,
                         struct blx_error *err);

unsigned blx_view_block_shift(const struct blx_view *view);

/* log2 of the bytes that stand for a block: its own size, or a digest's. Offsets of blx_view_read()
 * count these bytes. */
unsigned blx_view_unit_shift(const struct blx_view *view);

/*
 * For stretch_private.h, of a view of data. Appends the entries that have data from `start_block`
 * on, ascending, until they have `max_blocks`, or the view ends, or blocks come that nobody knows;
 * there `end_block` is. Errors as blx_view_read() when it plans a window.
 */
int blx_view_list_data(struct blx_view *view, uint64_t start_block, uint64_t max_blocks,
                       struct blx_index *index, uint64_t *end_block, struct blx_error *err);

/* The segment that an entry of a planned window names. Borrowed. */
const struct blx_segment_reader *blx_view_find_segment(struct blx_view *view, uint32_t number);

/* Past the cache. Errors as blx_stored_frame_read(). */
int blx_view_read_frame(struct blx_view *view, const struct blx_index_entry *entry,
                        struct blx_stored_frame *stored, struct blx_error *err);

struct blx_frame_cache *blx_view_cache(const struct blx_view *view);

/* For tests: what the block maps take, and how many windows were planned so far. */
struct blx_view_usage {
    size_t map_bytes;
    size_t window_count;
    size_t planned_count;
};
void blx_view_measure(struct blx_view *view, struct blx_view_usage *usage);
