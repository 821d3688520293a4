/* SPDX-License-Identifier: Apache-2.0 */
#include "store/view/opening_private.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "store/segment/segment_reader_private.h"

/* Openers that found no free slot sleep until this many are free: waking them for each one costs
 * more than the reading. */
enum { SEGMENTS_PER_THREAD = 4, WAKING_SLOTS = BLX_OPENING_AHEAD / 2 };

/*
 *     FREE ──begun──► READING ──► READY ──handed over──► FREE
 */
enum slot_state { SLOT_FREE, SLOT_READING, SLOT_READY };

struct slot {
    enum slot_state state;
    struct blx_segment_reader *reader; /* READY: owned; NULL: `err` says why */
    uint64_t entries;                  /* that it counts for in `entries` below */
    struct blx_error err;
};

/* `lock` guards all that is not constant; a slot that is READING belongs to its opener. */
struct opening {
    const char *volume_dir;                   /* constant */
    const struct blx_chain_segment *segments; /* constant */
    size_t count;                             /* constant */
    pthread_mutex_t lock;
    pthread_cond_t ready;     /* the awaited slot has become READY */
    pthread_cond_t room;      /* there are slots, or entries, or all is stopped */
    size_t next;              /* the first segment that nobody has begun with */
    size_t awaited;           /* the one that the caller hands over next */
    uint64_t entries;         /* of the indexes that are read or being read */
    size_t waiting_for_slots; /* openers */
    size_t waiting_for_entries;
    bool stopped;
    struct slot slots[BLX_OPENING_AHEAD];
    pthread_t threads[BLX_OPENING_THREADS];
    size_t thread_count;
};

static struct slot *slot_of(struct opening *opening, size_t at)
{
    return &opening->slots[at % BLX_OPENING_AHEAD];
}

/* The awaited one never waits, so somebody always goes on. False: there is no need for it. */
static bool wait_for_room(struct opening *opening, size_t at, uint64_t entries)
{
    pthread_mutex_lock(&opening->lock);
    while (!opening->stopped && at != opening->awaited &&
           opening->entries + entries > BLX_OPENING_ENTRIES) {
        opening->waiting_for_entries++;
        pthread_cond_wait(&opening->room, &opening->lock);
        opening->waiting_for_entries--;
    }
    bool wanted = !opening->stopped;
    opening->entries += entries;
    slot_of(opening, at)->entries = entries;
    pthread_mutex_unlock(&opening->lock);
    return wanted;
}

static void open_one(struct opening *opening, size_t at)
{
    struct slot *slot = slot_of(opening, at);
    struct blx_segment_footer_disk footer;
    blx_error_clear(&slot->err);
    slot->reader = NULL;
    slot->entries = 0;
    int rc = blx_segment_reader_begin(opening->volume_dir, opening->segments[at].number,
                                      &slot->reader, &footer, &slot->err);
    if (rc == 0 && wait_for_room(opening, at, blx_le64_get(footer.index_count)))
        rc = blx_segment_reader_entries(slot->reader, &footer, &slot->err);
    if (rc < 0) {
        slot->err.code = rc;
        blx_segment_reader_close(slot->reader);
        slot->reader = NULL;
    }
    pthread_mutex_lock(&opening->lock);
    slot->state = SLOT_READY;
    if (at == opening->awaited)
        pthread_cond_signal(&opening->ready);
    pthread_mutex_unlock(&opening->lock);
}

/* Whether there is a segment to begin with: then `at` is its place, and it is the caller's. */
static bool begin_next_locked(struct opening *opening, size_t *at)
{
    if (opening->stopped || opening->next == opening->count ||
        opening->next >= opening->awaited + BLX_OPENING_AHEAD)
        return false;
    *at = opening->next++;
    slot_of(opening, *at)->state = SLOT_READING;
    return true;
}

static void *open_segments(void *arg)
{
    struct opening *opening = arg;
    pthread_mutex_lock(&opening->lock);
    while (!opening->stopped && opening->next < opening->count) {
        size_t at;
        if (!begin_next_locked(opening, &at)) {
            opening->waiting_for_slots++;
            pthread_cond_wait(&opening->room, &opening->lock);
            opening->waiting_for_slots--;
            continue;
        }
        pthread_mutex_unlock(&opening->lock);
        open_one(opening, at);
        pthread_mutex_lock(&opening->lock);
    }
    pthread_mutex_unlock(&opening->lock);
    return NULL;
}

/* Few segments are opened by the caller alone, which also does it all if no thread can be had. */
static void start(struct opening *opening)
{
    size_t wanted = opening->count / SEGMENTS_PER_THREAD;
    wanted = wanted < BLX_OPENING_THREADS ? wanted : BLX_OPENING_THREADS;
    while (opening->thread_count < wanted &&
           pthread_create(&opening->threads[opening->thread_count], NULL, open_segments, opening) ==
               0)
        opening->thread_count++;
}

/* The segment at `at`, as soon as it is there; its slot is free then. The reader is the caller's.
 */
static struct blx_segment_reader *take(struct opening *opening, size_t at, struct blx_error *cause)
{
    struct slot *slot = slot_of(opening, at);
    size_t begun;
    pthread_mutex_lock(&opening->lock);
    if (opening->next == at && begin_next_locked(opening, &begun)) {
        pthread_mutex_unlock(&opening->lock);
        open_one(opening, begun);
        pthread_mutex_lock(&opening->lock);
    }
    while (slot->state != SLOT_READY)
        pthread_cond_wait(&opening->ready, &opening->lock);
    struct blx_segment_reader *reader = slot->reader;
    *cause = slot->err;
    pthread_mutex_unlock(&opening->lock);
    return reader;
}

/* What was taken is used up: the openers may go on. */
static void hand_over(struct opening *opening, size_t at)
{
    struct slot *slot = slot_of(opening, at);
    pthread_mutex_lock(&opening->lock);
    opening->entries -= slot->entries;
    slot->reader = NULL;
    slot->state = SLOT_FREE;
    opening->awaited = at + 1;
    size_t free_slots = BLX_OPENING_AHEAD - (opening->next - opening->awaited);
    if (opening->waiting_for_entries > 0 ||
        (opening->waiting_for_slots > 0 && free_slots >= WAKING_SLOTS))
        pthread_cond_broadcast(&opening->room);
    pthread_mutex_unlock(&opening->lock);
}

static void finish(struct opening *opening)
{
    pthread_mutex_lock(&opening->lock);
    opening->stopped = true;
    pthread_cond_broadcast(&opening->room);
    pthread_mutex_unlock(&opening->lock);
    for (size_t i = 0; i < opening->thread_count; i++)
        pthread_join(opening->threads[i], NULL);
    for (size_t i = 0; i < BLX_OPENING_AHEAD; i++)
        blx_segment_reader_close(opening->slots[i].reader);
    pthread_cond_destroy(&opening->room);
    pthread_cond_destroy(&opening->ready);
    pthread_mutex_destroy(&opening->lock);
}

int blx_opening_run(const char *volume_dir, const struct blx_chain_segment *segments, size_t count,
                    int (*visit)(void *arg, const struct blx_chain_segment *segment,
                                 struct blx_segment_reader *reader, const struct blx_error *cause,
                                 struct blx_error *err),
                    void *arg, struct blx_error *err)
{
    BLX_CLEANUP_FREE struct opening *opening = calloc(1, sizeof(*opening));
    if (opening == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot open the segments in '%s'", volume_dir);
    opening->volume_dir = volume_dir;
    opening->segments = segments;
    opening->count = count;
    pthread_mutex_init(&opening->lock, NULL);
    pthread_cond_init(&opening->ready, NULL);
    pthread_cond_init(&opening->room, NULL);
    start(opening);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct blx_error cause = {0};
        struct blx_segment_reader *reader = take(opening, i, &cause);
        rc = visit(arg, &segments[i], reader, &cause, err);
        hand_over(opening, i);
    }
    finish(opening);
    return rc;
}
