/* SPDX-License-Identifier: Apache-2.0 */
#include "store/view/sweep_private.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/cond.h"
#include "store/view/frame_cache_private.h"
#include "store/view/stretch_private.h"
#include "store/view/view_private.h"

/* Of all clients qemu-img asks for the most at once: 16 times 2 MiB. */
static const struct blx_sweep_limits default_limits = {
    .slack_bytes = 32 << 20, .min_run_bytes = 1 << 20, .min_stretch_bytes = 4 << 20};

enum {
    STRAGGLERS_MS = 50, /* to wait for the parts of an old stretch that nobody has read */
    MAX_HOLES = 16,     /* that are looked at for one read */
};

enum sweep_state { SWEEP_PLAIN, SWEEP_FILLING, SWEEP_READY };

/* `lock` guards all that is not constant. A stretch that is READY does not change as long as it has
 * users; one that is FILLING belongs to the thread that fills it. */
struct blx_sweep {
    struct blx_view *view;          /* constant, borrowed */
    struct blx_sweep_limits limits; /* constant */
    pthread_mutex_t lock;
    pthread_cond_t changed;     /* another state, or no users; by CLOCK_MONOTONIC */
    uint64_t next_bytes;        /* the end of what was read */
    uint64_t run_bytes;         /* read on, up to there */
    uint64_t plain_until_bytes; /* no stretch is worth it before this place */
    enum sweep_state state;
    struct blx_stretch stretch;
    uint64_t filled_from_bytes; /* FILLING: where the stretch begins */
    uint64_t unread_bytes;      /* READY: data of the stretch */
    size_t users;               /* who copy from the stretch */
};

struct blx_sweep *blx_sweep_new_limited(struct blx_view *view,
                                        const struct blx_sweep_limits *limits)
{
    struct blx_sweep *sweep = calloc(1, sizeof(*sweep));
    if (sweep == NULL)
        return NULL;
    sweep->view = view;
    sweep->limits = *limits;
    pthread_mutex_init(&sweep->lock, NULL);
    blx_cond_init(&sweep->changed);
    return sweep;
}

struct blx_sweep *blx_sweep_new(struct blx_view *view)
{
    return blx_sweep_new_limited(view, &default_limits);
}

/* The stretch that was READY. */
static void drop_stretch_locked(struct blx_sweep *sweep)
{
    blx_stretch_done(&sweep->stretch);
    blx_frame_cache_return(blx_view_cache(sweep->view));
    sweep->state = SWEEP_PLAIN;
}

void blx_sweep_free(struct blx_sweep *sweep)
{
    if (sweep == NULL)
        return;
    if (sweep->state == SWEEP_READY)
        drop_stretch_locked(sweep);
    pthread_cond_destroy(&sweep->changed);
    pthread_mutex_destroy(&sweep->lock);
    free(sweep);
}

bool blx_sweep_is_plain(struct blx_sweep *sweep, uint64_t offset_bytes)
{
    pthread_mutex_lock(&sweep->lock);
    bool plain = sweep->state == SWEEP_PLAIN && offset_bytes < sweep->plain_until_bytes;
    pthread_mutex_unlock(&sweep->lock);
    return plain;
}

bool blx_sweep_has_stretch(struct blx_sweep *sweep)
{
    pthread_mutex_lock(&sweep->lock);
    bool has = sweep->state != SWEEP_PLAIN;
    pthread_mutex_unlock(&sweep->lock);
    return has;
}

/* Whether there is nothing to read from `from` to `to`: a reader that knows holes leaves them out.
 * Many holes and zeros in a row are too much to look at. */
static bool is_hole(struct blx_view *view, uint64_t from, uint64_t to)
{
    struct blx_view_extent extent;
    for (unsigned steps = 0; from < to; steps++) {
        if (steps == MAX_HOLES || from >= blx_view_size_bytes(view) ||
            blx_view_find_extent(view, from, &extent, NULL) < 0 || extent.kind == BLX_VIEW_DATA)
            return false;
        from += extent.bytes;
    }
    return true;
}

static void follow_locked(struct blx_sweep *sweep, size_t bytes, uint64_t offset)
{
    uint64_t next = sweep->next_bytes, end = offset + bytes, slack = sweep->limits.slack_bytes;
    bool near = offset + slack >= next && offset <= next + slack;
    if (near || (offset > next && is_hole(sweep->view, next, offset))) {
        sweep->run_bytes += bytes;
        sweep->next_bytes = end > next ? end : next;
        return;
    }
    sweep->run_bytes = bytes;
    sweep->next_bytes = end;
    sweep->plain_until_bytes = 0;
    if (sweep->state == SWEEP_READY && sweep->users == 0)
        drop_stretch_locked(sweep);
}

static bool covers_locked(const struct blx_sweep *sweep, uint64_t offset)
{
    if (sweep->state == SWEEP_FILLING)
        return offset >= sweep->filled_from_bytes;
    return sweep->state == SWEEP_READY && offset >= sweep->stretch.start_bytes &&
           offset < sweep->stretch.end_bytes;
}

/* What comes in another order than it was asked for is read from the old stretch still. */
static void await_stragglers_locked(struct blx_sweep *sweep)
{
    uint64_t until_ns = blx_deadline_in_ms(STRAGGLERS_MS);
    while (sweep->users > 0 || (sweep->unread_bytes > 0 && blx_clock_ns() < until_ns)) {
        if (sweep->users > 0)
            pthread_cond_wait(&sweep->changed, &sweep->lock);
        else
            blx_cond_wait_until(&sweep->changed, &sweep->lock, until_ns);
    }
}

static uint64_t wanted_bytes_locked(const struct blx_sweep *sweep)
{
    uint64_t wanted = 2 * sweep->run_bytes;
    uint64_t most = blx_frame_cache_spare_bytes(blx_view_cache(sweep->view));
    wanted = wanted > sweep->limits.min_stretch_bytes ? wanted : sweep->limits.min_stretch_bytes;
    return wanted < most ? wanted : most;
}

/* Where the last stretch ended, if that is near: another thread may read there. */
static uint64_t start_locked(const struct blx_sweep *sweep, uint64_t offset)
{
    uint64_t end = sweep->state == SWEEP_READY ? sweep->stretch.end_bytes : offset;
    return offset >= end && offset - end <= sweep->limits.slack_bytes ? end : offset;
}

/* In PLAIN. What fails here is found again by whoever reads the blocks. */
static void fill_locked(struct blx_sweep *sweep, uint64_t start, uint64_t room)
{
    struct blx_frame_cache *cache = blx_view_cache(sweep->view);
    struct blx_stretch *stretch = &sweep->stretch;
    bool lent = false;
    sweep->state = SWEEP_FILLING;
    sweep->filled_from_bytes = start;
    pthread_mutex_unlock(&sweep->lock);
    int rc = blx_stretch_plan(stretch, sweep->view, start, room, NULL);
    uint64_t end = rc == 0 ? stretch->end_bytes : start;
    if (rc == 0 && blx_stretch_is_scattered(stretch))
        lent = blx_frame_cache_lend(cache);
    if (lent)
        rc = blx_stretch_fill(stretch, sweep->view, NULL);
    pthread_mutex_lock(&sweep->lock);
    if (lent && rc == 0) {
        sweep->state = SWEEP_READY;
        sweep->unread_bytes = stretch->data_blocks << stretch->block_shift;
    } else {
        blx_stretch_done(stretch);
        if (lent)
            blx_frame_cache_return(cache);
        sweep->state = SWEEP_PLAIN;
        uint64_t least = start + sweep->limits.min_run_bytes;
        sweep->plain_until_bytes = end > least ? end : least;
    }
    pthread_cond_broadcast(&sweep->changed);
}

static bool wants_stretch_locked(const struct blx_sweep *sweep, uint64_t offset)
{
    bool passed = sweep->state == SWEEP_READY && offset < sweep->stretch.start_bytes;
    return sweep->state != SWEEP_FILLING && !passed &&
           sweep->run_bytes >= sweep->limits.min_run_bytes && offset >= sweep->plain_until_bytes;
}

/* Whether there is a stretch with the place now; if it has to be, it is filled first. */
static bool get_stretch_locked(struct blx_sweep *sweep, uint64_t offset)
{
    uint64_t start = offset;
    for (;;) {
        bool covers = covers_locked(sweep, offset);
        if (covers && sweep->state == SWEEP_READY)
            return true;
        if (covers) {
            pthread_cond_wait(&sweep->changed, &sweep->lock);
            continue;
        }
        if (!wants_stretch_locked(sweep, offset))
            return false;
        if (sweep->state == SWEEP_PLAIN)
            break;
        start = start_locked(sweep, offset);
        await_stragglers_locked(sweep);
        if (sweep->state == SWEEP_READY && !covers_locked(sweep, offset))
            drop_stretch_locked(sweep);
    }
    fill_locked(sweep, start, wanted_bytes_locked(sweep));
    return sweep->state == SWEEP_READY && covers_locked(sweep, offset);
}

/* 0: it has to be read as it is. */
static size_t read_stretch(struct blx_sweep *sweep, void *buffer, size_t bytes, uint64_t offset)
{
    uint64_t data_bytes = 0;
    size_t part = 0;
    pthread_mutex_lock(&sweep->lock);
    if (get_stretch_locked(sweep, offset)) {
        sweep->users++;
        pthread_mutex_unlock(&sweep->lock);
        part = blx_stretch_copy(&sweep->stretch, buffer, bytes, offset, &data_bytes);
        pthread_mutex_lock(&sweep->lock);
        sweep->users--;
        sweep->unread_bytes -= data_bytes < sweep->unread_bytes ? data_bytes : sweep->unread_bytes;
        if (sweep->users == 0)
            pthread_cond_broadcast(&sweep->changed);
    }
    pthread_mutex_unlock(&sweep->lock);
    return part;
}

int blx_sweep_read(struct blx_sweep *sweep, void *buffer, size_t bytes, uint64_t offset_bytes,
                   struct blx_error *err)
{
    uint8_t *to = buffer;
    pthread_mutex_lock(&sweep->lock);
    follow_locked(sweep, bytes, offset_bytes);
    pthread_mutex_unlock(&sweep->lock);
    while (bytes > 0) {
        size_t part = read_stretch(sweep, to, bytes, offset_bytes);
        if (part == 0)
            return blx_view_read(sweep->view, to, bytes, offset_bytes, err);
        to += part;
        offset_bytes += part;
        bytes -= part;
    }
    return 0;
}
