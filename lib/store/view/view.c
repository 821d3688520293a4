/* SPDX-License-Identifier: Apache-2.0 */
#include "store/view/view_private.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "crypt/block_digest.h"
#include "store/view/block_map_private.h"
#include "store/view/frame_cache_private.h"
#include "store/view/stored_frame_private.h"
#include "store/view/volume_secret_private.h"

/* So many of the newest segments keep their files open; the others are opened for each frame. */
enum { MAX_FILES = 64 };

/* Where windows are needed, one that somebody reads in begins at a multiple of this part of the
 * volume, so that reading on backwards does not plan a window for each step. */
enum { WINDOW_PARTS = 64 };

struct window {
    uint64_t start_block, end_block;
    struct blx_block_map map; /* its entries' segment is the number in the file's name */
    atomic_uint_fast64_t used;
};

/*
 * `lock` is held by readers for as long as they look into a map. `planning` is taken before it, by
 * the one thread that plans a window; it alone changes what `lock` guards.
 */
struct blx_view {
    struct blx_view_source source;         /* constant; its keys are these: */
    struct blx_volume_key key, digest_key; /* constant */
    uint64_t number;                       /* constant; in the cache's keys */
    uint64_t size_bytes;                   /* constant once it is open */
    uint64_t blocks;                       /* constant once it is open */
    unsigned block_shift, unit_shift;
    pthread_mutex_t planning;
    pthread_rwlock_t lock;
    struct window **windows; /* owned; ascending and disjoint */
    size_t window_count;
    size_t map_bytes; /* of all windows */
    size_t planned_count;
    struct blx_segment_reader **segments; /* owned, shrunk; ascending by number; none ever goes */
    size_t segment_count;
    atomic_uint_fast64_t uses;
};

static void window_free(struct window *window)
{
    if (window != NULL)
        blx_block_map_done(&window->map);
    free(window);
}

void blx_view_close(struct blx_view *view)
{
    if (view == NULL)
        return;
    blx_frame_cache_drop(view->source.cache, view->number);
    for (size_t i = 0; i < view->window_count; i++)
        window_free(view->windows[i]);
    free(view->windows);
    for (size_t i = 0; i < view->segment_count; i++)
        blx_segment_reader_close(view->segments[i]);
    free(view->segments);
    if (view->source.done != NULL)
        view->source.done(view->source.arg);
    blx_volume_key_wipe(&view->key);
    blx_volume_key_wipe(&view->digest_key);
    pthread_rwlock_destroy(&view->lock);
    pthread_mutex_destroy(&view->planning);
    free(view);
}

uint64_t blx_view_size_bytes(const struct blx_view *view)
{
    return view->size_bytes;
}

unsigned blx_view_block_shift(const struct blx_view *view)
{
    return view->block_shift;
}

unsigned blx_view_unit_shift(const struct blx_view *view)
{
    return view->unit_shift;
}

void blx_view_measure(struct blx_view *view, struct blx_view_usage *usage)
{
    pthread_rwlock_rdlock(&view->lock);
    *usage = (struct blx_view_usage){.map_bytes = view->map_bytes,
                                     .window_count = view->window_count,
                                     .planned_count = view->planned_count};
    pthread_rwlock_unlock(&view->lock);
}

static int no_memory(struct blx_error *err)
{
    return blx_error_errno(err, -ENOMEM, "cannot read what is stored");
}

/*
 * Nobody knows the blocks that the checkpoint lacks, whatever older frames hold. Their entries come
 * below the frames after the checkpoint and above its chain: they have the rank of its newest
 * segment, and of equal ranks the later entry wins.
 */
static int add_unknown(struct blx_plan *plan, struct blx_error *err)
{
    for (uint32_t i = 0; i < plan->unreadable_count; i++) {
        uint64_t start = plan->unreadable[i].start_block;
        uint64_t end = start + plan->unreadable[i].block_count;
        start = start > plan->start_block ? start : plan->start_block;
        end = plan->end_block != 0 && end > plan->end_block ? plan->end_block : end;
        if (start >= end)
            continue;
        struct blx_index_entry unknown = {.extent = {start, end - start},
                                          .segment = BLX_VIEW_UNKNOWN,
                                          .rank = UINT32_MAX - 1 - (uint32_t)plan->chain_begin};
        if (blx_index_add(&plan->index, &unknown) < 0)
            return no_memory(err);
    }
    return 0;
}

/* From places in the plan to numbers, which hold for every window. */
static void number_segments(struct blx_plan *plan)
{
    for (size_t i = 0; i < plan->index.count; i++) {
        struct blx_index_entry *entry = &plan->index.entries[i];
        if (entry->segment != BLX_VIEW_UNKNOWN)
            entry->segment = blx_segment_reader_summary(plan->segments[entry->segment])->number;
    }
}

/* The place of the segment among the view's, or where it would stand. */
static size_t segment_place(const struct blx_view *view, uint32_t number)
{
    size_t low = 0, high = view->segment_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (blx_segment_reader_summary(view->segments[middle])->number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool has_segment(const struct blx_view *view, uint32_t number)
{
    size_t at = segment_place(view, number);
    return at < view->segment_count &&
           blx_segment_reader_summary(view->segments[at])->number == number;
}

static int compare_numbers(const void *a, const void *b)
{
    const struct blx_segment_reader *const *x = a, *const *y = b;
    uint32_t number_x = blx_segment_reader_summary(*x)->number;
    uint32_t number_y = blx_segment_reader_summary(*y)->number;
    return number_x < number_y ? -1 : number_x > number_y;
}

/* Takes over the plan's segments that the view does not have yet: all of them, the first time. */
static int adopt_segments_locked(struct blx_view *view, struct blx_plan *plan,
                                 struct blx_error *err)
{
    size_t known = view->segment_count, added = 0;
    struct blx_segment_reader **grown =
        reallocarray(view->segments, known + plan->segment_count + 1, sizeof(view->segments[0]));
    if (grown == NULL)
        return no_memory(err);
    view->segments = grown;
    for (size_t i = 0; i < plan->segment_count; i++) {
        if (has_segment(view, blx_segment_reader_summary(plan->segments[i])->number))
            continue;
        view->segments[known + added++] = plan->segments[i];
        plan->segments[i] = NULL;
    }
    view->segment_count = known + added;
    if (added > 0)
        qsort(view->segments, view->segment_count, sizeof(view->segments[0]), compare_numbers);
    return 0;
}

/* The place of the window that covers the block, or of the first one after it. */
static size_t window_place(const struct blx_view *view, uint64_t block)
{
    size_t low = 0, high = view->window_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (view->windows[middle]->end_block <= block)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct window *find_window(struct blx_view *view, uint64_t block)
{
    size_t at = window_place(view, block);
    return at < view->window_count && view->windows[at]->start_block <= block ? view->windows[at]
                                                                              : NULL;
}

static void drop_window_locked(struct blx_view *view, size_t at)
{
    view->map_bytes -= blx_block_map_memory_bytes(&view->windows[at]->map);
    window_free(view->windows[at]);
    view->window_count--;
    memmove(&view->windows[at], &view->windows[at + 1],
            (view->window_count - at) * sizeof(view->windows[0]));
}

/* Windows that were used longest ago go until the others and a new one have room. */
static void make_room_locked(struct blx_view *view, size_t bytes)
{
    while (view->window_count > 0 && view->map_bytes + bytes > view->source.max_map_bytes) {
        size_t oldest = 0;
        for (size_t i = 1; i < view->window_count; i++)
            if (view->windows[i]->used < view->windows[oldest]->used)
                oldest = i;
        drop_window_locked(view, oldest);
    }
}

static int insert_window_locked(struct blx_view *view, struct window *window, struct blx_error *err)
{
    make_room_locked(view, blx_block_map_memory_bytes(&window->map));
    struct window **grown =
        reallocarray(view->windows, view->window_count + 1, sizeof(view->windows[0]));
    if (grown == NULL)
        return no_memory(err);
    view->windows = grown;
    size_t at = window_place(view, window->start_block);
    memmove(&view->windows[at + 1], &view->windows[at],
            (view->window_count - at) * sizeof(view->windows[0]));
    view->windows[at] = window;
    view->window_count++;
    view->planned_count++;
    view->map_bytes += blx_block_map_memory_bytes(&window->map);
    window->used = ++view->uses;
    return 0;
}

/* Takes over the plan's segments and makes its index a window. */
static int take_plan(struct blx_view *view, struct blx_plan *plan, struct blx_error *err)
{
    if (view->source.fetch == NULL)
        number_segments(plan);
    struct window *window = calloc(1, sizeof(*window));
    if (window == NULL || blx_block_map_add(&window->map, &plan->index) < 0) {
        window_free(window);
        return no_memory(err);
    }
    window->start_block = plan->start_block;
    window->end_block =
        plan->end_block != 0 && plan->end_block < view->blocks ? plan->end_block : view->blocks;
    pthread_rwlock_wrlock(&view->lock);
    int rc = adopt_segments_locked(view, plan, err);
    if (rc == 0)
        rc = insert_window_locked(view, window, err);
    pthread_rwlock_unlock(&view->lock);
    if (rc < 0)
        window_free(window);
    return rc;
}

static int plan_window(struct blx_view *view, uint64_t start_block, uint64_t end_block,
                       struct blx_error *err)
{
    BLX_CLEANUP(blx_plan_done)
    struct blx_plan plan = {.max_entries = view->source.max_entries,
                            .max_files = MAX_FILES,
                            .start_block = start_block,
                            .end_block = end_block};
    if (view->source.tables == BLX_VIEW_TABLES_USED)
        plan.tables = view->source.digest_key_id;
    int rc = view->source.add(view->source.arg, &plan, err);
    if (rc == 0)
        rc = add_unknown(&plan, err);
    if (rc < 0)
        return rc;
    if (blx_index_flatten(&plan.index) < 0)
        return no_memory(err);
    if (view->blocks == 0) {
        view->size_bytes = plan.size_bytes;
        view->block_shift = plan.block_shift;
        view->blocks = blx_blocks_of_bytes(plan.size_bytes, plan.block_shift);
        view->unit_shift = view->source.content == BLX_VIEW_CONTENT_DIGESTS ? BLX_BLOCK_DIGEST_SHIFT
                                                                            : plan.block_shift;
    }
    return take_plan(view, &plan, err);
}

/* Plans a window with the block, unless another thread has just done it. */
static int plan_around(struct blx_view *view, uint64_t block, struct blx_error *err)
{
    int rc = 0;
    pthread_mutex_lock(&view->planning);
    if (find_window(view, block) == NULL) {
        size_t at = window_place(view, block);
        uint64_t part = view->blocks / WINDOW_PARTS + 1;
        uint64_t start = block / part * part;
        uint64_t before = at > 0 ? view->windows[at - 1]->end_block : 0;
        uint64_t end = at < view->window_count ? view->windows[at]->start_block : 0;
        rc = plan_window(view, start > before ? start : before, end, err);
        /* Its index may have had no room for all that lies before the block. */
        if (rc == 0 && find_window(view, block) == NULL)
            rc = plan_window(view, block, end, err);
    }
    pthread_mutex_unlock(&view->planning);
    return rc;
}

/* A run of blocks that are alike. */
struct piece {
    enum { PIECE_HOLE, PIECE_ZERO, PIECE_DATA, PIECE_TABLE, PIECE_UNKNOWN } kind;
    uint64_t end_block;
    struct blx_index_entry entry;            /* unless it is a hole */
    const struct blx_segment_reader *reader; /* if it is data, or digests in a table */
};

static void look_up(struct blx_view *view, const struct window *window, uint64_t block,
                    struct piece *piece)
{
    struct blx_index_entry *entry = &piece->entry;
    bool found = blx_block_map_find(&window->map, block, entry);
    piece->reader = NULL;
    if (!found || entry->extent.start_block > block) {
        piece->kind = PIECE_HOLE;
        piece->end_block = found ? entry->extent.start_block : window->end_block;
        return;
    }
    piece->end_block = entry->extent.start_block + entry->extent.block_count;
    if (entry->segment == BLX_VIEW_UNKNOWN)
        piece->kind = PIECE_UNKNOWN;
    else if (entry->zero)
        piece->kind = PIECE_ZERO;
    else
        piece->kind = entry->frame_offset == BLX_PLAN_TABLE ? PIECE_TABLE : PIECE_DATA;
    bool stored = piece->kind == PIECE_DATA || piece->kind == PIECE_TABLE;
    if (stored && view->source.fetch == NULL)
        piece->reader = view->segments[segment_place(view, entry->segment)];
}

static int find_piece(struct blx_view *view, uint64_t block, struct piece *piece,
                      struct blx_error *err)
{
    for (;;) {
        pthread_rwlock_rdlock(&view->lock);
        struct window *window = find_window(view, block);
        if (window != NULL) {
            atomic_store_explicit(&window->used, atomic_fetch_add(&view->uses, 1) + 1,
                                  memory_order_relaxed);
            look_up(view, window, block, piece);
        }
        pthread_rwlock_unlock(&view->lock);
        if (window != NULL)
            return 0;
        int rc = plan_around(view, block, err);
        if (rc < 0)
            return rc;
    }
}

/* What load() needs of a frame. */
struct loading {
    const struct blx_view *view;
    const struct piece *piece;
};

/* The extents that a frame has data of. */
static int list_extents(const struct blx_frame *frame, struct blx_cached_content *content,
                        struct blx_error *err)
{
    uint64_t data_block = 0;
    content->extents = calloc(frame->extent_count + 1, sizeof(content->extents[0]));
    if (content->extents == NULL)
        return no_memory(err);
    for (uint32_t i = 0; i < frame->extent_count; i++) {
        struct blx_frame_extent at = blx_frame_extent_at(frame, i);
        if (at.zero)
            continue;
        content->extents[content->extent_count++] =
            (struct blx_cached_extent){.start_block = at.extent.start_block,
                                       .block_count = (uint32_t)at.extent.block_count,
                                       .data_block = (uint32_t)data_block};
        data_block += at.extent.block_count;
    }
    content->seq = frame->seq;
    return 0;
}

/* Those inside an encrypted frame. */
static int take_digests(const struct blx_view *view, const struct piece *piece,
                        struct blx_stored_frame *stored, struct blx_cached_content *content,
                        struct blx_error *err)
{
    const struct blx_frame *frame = &stored->frame;
    int rc = blx_stored_frame_fetch(stored, piece->reader, &piece->entry, err);
    if (rc < 0)
        return rc;
    if (!blx_key_id_equal(&frame->key_id, &view->source.key_id) || frame->digests == NULL)
        return blx_error_set(err, -EBADMSG, "frame %llu is not of the image's key",
                             (unsigned long long)frame->seq);
    content->data_bytes = (frame->data_bytes >> frame->block_shift) << view->unit_shift;
    if (stored->data.size < content->data_bytes) {
        free(stored->data.bytes);
        stored->data = (struct blx_stored_bytes){.bytes = malloc(content->data_bytes)};
        if (stored->data.bytes == NULL)
            return no_memory(err);
        stored->data.size = content->data_bytes;
    }
    if (content->data_bytes > 0)
        memcpy(stored->data.bytes, frame->digests, content->data_bytes);
    return 0;
}

/* Those of a plain frame's data, in its place. */
static int make_digests(const struct blx_view *view, const struct piece *piece,
                        struct blx_stored_frame *stored, struct blx_cached_content *content,
                        struct blx_error *err)
{
    uint8_t digests[(BLX_FRAME_MAX_DATA_BYTES >> BLX_BLOCK_SHIFT_MIN) << BLX_BLOCK_DIGEST_SHIFT];
    const struct blx_frame *frame = &stored->frame;
    int rc = blx_stored_frame_read(stored, piece->reader, &piece->entry, NULL, err);
    if (rc == 0)
        rc = blx_frame_digest(frame, stored->data.bytes, view->source.digest_key, digests, err);
    if (rc < 0)
        return rc;
    content->data_bytes = blx_frame_digest_bytes(frame->data_bytes, frame->block_shift);
    if (content->data_bytes > 0)
        memcpy(stored->data.bytes, digests, content->data_bytes);
    return 0;
}

/* A small frame does not keep the memory of a large one. */
static void fit(struct blx_stored_bytes *buffer, size_t bytes)
{
    if (buffer->size / 2 <= bytes)
        return;
    uint8_t *smaller = realloc(buffer->bytes, bytes > 0 ? bytes : 1);
    if (smaller != NULL)
        *buffer = (struct blx_stored_bytes){.bytes = smaller, .size = bytes};
}

static int read_content(const struct blx_view *view, const struct piece *piece,
                        struct blx_stored_frame *stored, struct blx_cached_content *content,
                        struct blx_error *err)
{
    if (view->source.content == BLX_VIEW_CONTENT_DIGESTS)
        return view->source.digest_key == NULL ? take_digests(view, piece, stored, content, err)
                                               : make_digests(view, piece, stored, content, err);
    int rc =
        view->source.fetch != NULL
            ? view->source.fetch(view->source.arg, &piece->entry, stored, err)
            : blx_stored_frame_read(stored, piece->reader, &piece->entry, view->source.key, err);
    content->data_bytes = stored->frame.data_bytes;
    return rc;
}

/* A frame that cannot be read is lost like a damaged one. */
static int load(void *arg, struct blx_cached_content *content, struct blx_error *err)
{
    const struct loading *loading = arg;
    struct blx_stored_frame stored = {.packed = content->packed, .data = content->data};
    struct blx_error cause = {0};
    int rc = read_content(loading->view, loading->piece, &stored, content, &cause);
    if (rc == 0)
        rc = list_extents(&stored.frame, content, &cause);
    if (rc == 0)
        fit(&stored.data, content->data_bytes);
    content->packed = stored.packed;
    content->data = stored.data;
    return rc < 0 ? blx_error_copy(err, rc == -ENOMEM ? rc : -EBADMSG, &cause) : 0;
}

/* Whether the frame has these blocks at the place that the map says. */
static bool holds(const struct blx_cached_content *content, uint64_t block, uint64_t count,
                  uint64_t data_block)
{
    size_t low = 0, high = content->extent_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct blx_cached_extent *at = &content->extents[middle];
        if (at->start_block + at->block_count <= block)
            low = middle + 1;
        else
            high = middle;
    }
    for (; count > 0 && low < content->extent_count; low++) {
        const struct blx_cached_extent *at = &content->extents[low];
        if (at->start_block > block || at->data_block + (block - at->start_block) != data_block)
            return false;
        uint64_t part = at->start_block + at->block_count - block;
        part = part < count ? part : count;
        block += part;
        data_block += part;
        count -= part;
    }
    return count == 0;
}

static int get_frame(struct blx_view *view, const struct piece *piece,
                     struct blx_cached_frame **frame, struct blx_error *err)
{
    const struct blx_frame_key key = {.view = view->number,
                                      .segment = piece->entry.segment,
                                      .frame_offset = piece->entry.frame_offset};
    struct loading loading = {.view = view, .piece = piece};
    return blx_frame_cache_get(view->source.cache, &key, load, &loading, frame, err);
}

static int lacks(const struct piece *piece, uint64_t seq, struct blx_error *err)
{
    if (piece->reader != NULL)
        return blx_stored_frame_lacks(piece->reader, seq, err);
    return blx_error_set(err, -EBADMSG, "frame %llu does not hold the blocks that it was named for",
                         (unsigned long long)seq);
}

/* `bytes` from the byte `skip` of the entry's data on. */
static int copy_data(struct blx_view *view, const struct piece *piece, uint64_t skip, size_t bytes,
                     uint8_t *to, struct blx_error *err)
{
    const struct blx_index_entry *entry = &piece->entry;
    unsigned shift = view->unit_shift;
    uint64_t first = skip >> shift, count = ((skip + bytes - 1) >> shift) - first + 1;
    struct blx_cached_frame *frame = NULL;
    int rc = get_frame(view, piece, &frame, err);
    if (rc < 0)
        return rc;
    const struct blx_cached_content *content = blx_cached_frame_content(frame);
    uint64_t from = ((uint64_t)entry->data_block << shift) + skip;
    if (!holds(content, entry->extent.start_block + first, count, entry->data_block + first) ||
        from > content->data_bytes || bytes > content->data_bytes - from)
        rc = lacks(piece, content->seq, err);
    else
        memcpy(to, content->data.bytes + from, bytes);
    blx_frame_cache_put(view->source.cache, frame);
    return rc;
}

/* `at` counts units; it need not be a multiple of one unless they are digests. */
static void put_zeros(const struct blx_view *view, size_t bytes, uint8_t *to)
{
    if (view->source.content == BLX_VIEW_CONTENT_DATA) {
        memset(to, 0, bytes);
        return;
    }
    for (size_t at = 0; at + BLX_BLOCK_DIGEST_BYTES <= bytes; at += BLX_BLOCK_DIGEST_BYTES)
        memcpy(to + at, blx_block_digest_zero, BLX_BLOCK_DIGEST_BYTES);
}

/* Digests that the disk does not give are lost like damaged ones. */
static int read_table(const struct blx_view *view, const struct piece *piece, uint64_t skip,
                      size_t bytes, uint8_t *to, struct blx_error *err)
{
    uint32_t place = piece->entry.data_block + (uint32_t)(skip >> view->unit_shift);
    struct blx_error cause = {0};
    int rc = blx_segment_reader_digests(piece->reader, place, (uint32_t)(bytes >> view->unit_shift),
                                        to, &cause);
    return rc < 0 ? blx_error_copy(err, -EBADMSG, &cause) : 0;
}

static int read_piece(struct blx_view *view, const struct piece *piece, uint64_t offset,
                      size_t bytes, uint8_t *to, struct blx_error *err)
{
    if (piece->kind == PIECE_UNKNOWN)
        return blx_error_set(err, -EBADMSG,
                             "the last checkpoint lacks blocks that the agent could not read");
    uint64_t skip = offset - (piece->entry.extent.start_block << view->unit_shift);
    if (piece->kind == PIECE_TABLE)
        return read_table(view, piece, skip, bytes, to, err);
    if (piece->kind == PIECE_DATA)
        return copy_data(view, piece, skip, bytes, to, err);
    put_zeros(view, bytes, to);
    return 0;
}

int blx_view_read(struct blx_view *view, void *buffer, size_t bytes, uint64_t offset_bytes,
                  struct blx_error *err)
{
    uint8_t *to = buffer;
    while (bytes > 0) {
        struct piece piece = {.kind = PIECE_HOLE, .end_block = UINT64_MAX >> view->unit_shift};
        uint64_t block = offset_bytes >> view->unit_shift;
        int rc = block < view->blocks ? find_piece(view, block, &piece, err) : 0;
        if (rc < 0)
            return rc;
        uint64_t room = (piece.end_block << view->unit_shift) - offset_bytes;
        size_t part = bytes < room ? bytes : (size_t)room;
        rc = read_piece(view, &piece, offset_bytes, part, to, err);
        if (rc < 0)
            return rc;
        to += part;
        offset_bytes += part;
        bytes -= part;
    }
    return 0;
}

int blx_view_find_extent(struct blx_view *view, uint64_t offset_bytes,
                         struct blx_view_extent *extent, struct blx_error *err)
{
    static const enum blx_view_kind kinds[] = {[PIECE_HOLE] = BLX_VIEW_HOLE,
                                               [PIECE_ZERO] = BLX_VIEW_ZERO,
                                               [PIECE_DATA] = BLX_VIEW_DATA,
                                               [PIECE_TABLE] = BLX_VIEW_DATA,
                                               [PIECE_UNKNOWN] = BLX_VIEW_DATA};
    struct piece piece;
    int rc = find_piece(view, offset_bytes >> view->unit_shift, &piece, err);
    if (rc < 0)
        return rc;
    uint64_t end = piece.end_block << view->unit_shift;
    if (view->source.content == BLX_VIEW_CONTENT_DATA && end > view->size_bytes)
        end = view->size_bytes;
    *extent = (struct blx_view_extent){.bytes = end - offset_bytes, .kind = kinds[piece.kind]};
    return 0;
}

void blx_view_read_ahead(struct blx_view *view, uint64_t bytes, uint64_t offset_bytes)
{
    uint64_t end = offset_bytes + bytes;
    end = end < view->size_bytes ? end : view->size_bytes;
    while (offset_bytes < end) {
        struct piece piece;
        if (find_piece(view, offset_bytes >> view->unit_shift, &piece, NULL) < 0)
            return;
        struct blx_cached_frame *frame = NULL;
        if (piece.kind == PIECE_DATA && get_frame(view, &piece, &frame, NULL) == 0)
            blx_frame_cache_put(view->source.cache, frame);
        offset_bytes = piece.end_block << view->unit_shift;
    }
}

int blx_view_list_data(struct blx_view *view, uint64_t start_block, uint64_t max_blocks,
                       struct blx_index *index, uint64_t *end_block, struct blx_error *err)
{
    uint64_t block = start_block, left = max_blocks;
    struct piece piece = {.kind = PIECE_HOLE};
    while (left > 0 && block < view->blocks) {
        int rc = find_piece(view, block, &piece, err);
        if (rc < 0)
            return rc;
        if (piece.kind == PIECE_UNKNOWN)
            break;
        uint64_t end = piece.end_block;
        if (piece.kind == PIECE_DATA) {
            end = end - block > left ? block + left : end;
            struct blx_index_entry part = blx_index_part(&piece.entry, block, end);
            if (blx_index_add(index, &part) < 0)
                return no_memory(err);
            left -= end - block;
        }
        block = end;
    }
    *end_block = block;
    return 0;
}

const struct blx_segment_reader *blx_view_find_segment(struct blx_view *view, uint32_t number)
{
    pthread_rwlock_rdlock(&view->lock);
    const struct blx_segment_reader *reader = view->segments[segment_place(view, number)];
    pthread_rwlock_unlock(&view->lock);
    return reader;
}

int blx_view_read_frame(struct blx_view *view, const struct blx_index_entry *entry,
                        struct blx_stored_frame *stored, struct blx_error *err)
{
    return blx_stored_frame_read(stored, blx_view_find_segment(view, entry->segment), entry,
                                 view->source.key, err);
}

struct blx_frame_cache *blx_view_cache(const struct blx_view *view)
{
    return view->source.cache;
}

int blx_view_open_source(const struct blx_view_source *source, struct blx_view **view,
                         struct blx_error *err)
{
    struct blx_view *made = calloc(1, sizeof(*made));
    if (made == NULL) {
        if (source->done != NULL)
            source->done(source->arg);
        return no_memory(err);
    }
    made->source = *source;
    if (source->key != NULL) {
        made->key = *source->key;
        made->source.key = &made->key;
    }
    if (source->digest_key != NULL) {
        made->digest_key = *source->digest_key;
        made->source.digest_key = &made->digest_key;
    }
    if (source->max_entries == 0)
        made->source.max_entries = BLX_VIEW_MAX_ENTRIES;
    if (source->max_map_bytes == 0)
        made->source.max_map_bytes = BLX_VIEW_MAP_BYTES;
    made->number = blx_frame_cache_new_view(source->cache);
    pthread_mutex_init(&made->planning, NULL);
    pthread_rwlock_init(&made->lock, NULL);
    int rc = plan_window(made, 0, 0, err);
    if (rc < 0) {
        blx_view_close(made);
        return rc;
    }
    *view = made;
    return 0;
}

/* A checkpoint's volume, as a source. */
struct checkpoint {
    struct blx_agent_store agent; /* with `id` */
    blx_timestamp timestamp;
    struct blx_agent_lock lock; /* holds it, also while no window is planned */
    char id[BLX_NAME_BYTES];
    char volume[BLX_NAME_BYTES];
};

static int add_checkpoint(void *arg, struct blx_plan *plan, struct blx_error *err)
{
    struct checkpoint *checkpoint = arg;
    return blx_plan_add_chain(checkpoint->agent, checkpoint->timestamp, checkpoint->volume, plan,
                              err);
}

static void checkpoint_done(void *arg)
{
    struct checkpoint *checkpoint = arg;
    blx_agent_lock_close(&checkpoint->lock);
    free(checkpoint);
}

static int hold_checkpoint(struct checkpoint *checkpoint, struct blx_error *err)
{
    int rc = blx_agent_lock_begin(checkpoint->agent, checkpoint->timestamp, &checkpoint->lock, err);
    blx_agent_lock_release(&checkpoint->lock, BLX_LOCK_CHAINS);
    return rc;
}

int blx_view_take_checkpoint(const struct blx_view_request *request, struct blx_view_source *source,
                             struct blx_error *err)
{
    int rc = blx_name_check("agent ID", request->agent.id, err);
    if (rc == 0)
        rc = blx_name_check("volume name", request->volume, err);
    if (rc < 0)
        return rc;
    struct checkpoint *checkpoint = calloc(1, sizeof(*checkpoint));
    if (checkpoint == NULL)
        return no_memory(err);
    blx_text_set(checkpoint->id, request->agent.id);
    blx_text_set(checkpoint->volume, request->volume);
    checkpoint->agent = blx_store_agent(request->agent.store, checkpoint->id);
    checkpoint->timestamp = request->checkpoint;
    checkpoint->lock.fd = -1;
    rc = hold_checkpoint(checkpoint, err);
    if (rc < 0) {
        checkpoint_done(checkpoint);
        return rc;
    }
    *source = (struct blx_view_source){.add = add_checkpoint,
                                       .done = checkpoint_done,
                                       .arg = checkpoint,
                                       .cache = request->cache,
                                       .max_entries = request->max_entries,
                                       .max_map_bytes = request->max_map_bytes};
    return 0;
}

int blx_view_open(const struct blx_view_request *request, struct blx_view **view,
                  struct blx_error *err)
{
    BLX_CLEANUP_VOLUME_SECRET struct blx_volume_secret secret = {0};
    struct blx_view_source source;
    int rc = blx_view_take_checkpoint(request, &source, err);
    if (rc < 0)
        return rc;
    rc = blx_volume_secret_find(request->agent, request->checkpoint, request->volume, request->keys,
                                &secret, err);
    if (rc < 0) {
        source.done(source.arg);
        return rc;
    }
    source.key_id = secret.id;
    source.key = blx_volume_secret_key(&secret);
    return blx_view_open_source(&source, view, err);
}
