/* SPDX-License-Identifier: Apache-2.0 */
#include "store/view/stretch_private.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "store/crew_private.h"
#include "store/view/stored_frame_private.h"
#include "store/view/view_private.h"

/* So many blocks are unpacked for one that is wanted, until the stretch is worth it. */
enum { WORTH = 2 };

/* Frames that the disk is asked for before a worker comes to them. */
enum { PREFETCHED_FRAMES = 16 };

void blx_stretch_done(struct blx_stretch *stretch)
{
    blx_plan_done(&stretch->plan);
    free(stretch->runs);
    free(stretch->bytes);
    free(stretch->present);
    *stretch = (struct blx_stretch){0};
}

static int no_memory(struct blx_error *err)
{
    return blx_error_errno(err, -ENOMEM, "cannot read what is stored");
}

/* The entries are ascending and disjoint still. */
static int list_runs(struct blx_stretch *stretch, struct blx_error *err)
{
    const struct blx_index *index = &stretch->plan.index;
    for (size_t i = 0; i < index->count; i++) {
        const struct blx_extent *extent = &index->entries[i].extent;
        struct blx_stretch_run *last =
            stretch->run_count > 0 ? &stretch->runs[stretch->run_count - 1] : NULL;
        if (last != NULL && blx_extent_end(last->extent) == extent->start_block) {
            last->extent.block_count += extent->block_count;
        } else {
            if (blx_array_make_room(stretch->runs, stretch->run_count) < 0)
                return no_memory(err);
            stretch->runs[stretch->run_count++] =
                (struct blx_stretch_run){.extent = *extent, .place = stretch->data_blocks};
        }
        stretch->data_blocks += extent->block_count;
    }
    return 0;
}

/* How far a frame goes after the last block that is wanted, an index does not say. It has those
 * before that, and it is hardly smaller unpacked than packed. */
static uint64_t blocks_of_frames(const struct blx_plan *plan)
{
    uint64_t blocks = 0;
    for (size_t i = 0; i < plan->frame_count; i++) {
        uint64_t most = plan->index.entries[plan->frames[i].first].frame_bytes >> plan->block_shift;
        for (size_t j = 0; j < plan->frames[i].count; j++) {
            const struct blx_index_entry *entry = &plan->index.entries[plan->frames[i].first + j];
            uint64_t end = entry->data_block + entry->extent.block_count;
            most = end > most ? end : most;
        }
        blocks += most;
    }
    return blocks;
}

int blx_stretch_plan(struct blx_stretch *stretch, struct blx_view *view, uint64_t offset_bytes,
                     uint64_t room_bytes, struct blx_error *err)
{
    unsigned shift = blx_view_block_shift(view);
    uint64_t start = offset_bytes >> shift, end = start;
    stretch->block_shift = shift;
    stretch->plan.block_shift = shift;
    int rc = blx_view_list_data(view, start, room_bytes >> shift, &stretch->plan.index, &end, err);
    if (rc == 0)
        rc = list_runs(stretch, err);
    if (rc == 0)
        rc = blx_plan_group_frames(&stretch->plan, err);
    if (rc < 0)
        return rc;
    stretch->start_bytes = start << shift;
    stretch->end_bytes = end << shift;
    stretch->frame_blocks = blocks_of_frames(&stretch->plan);
    return 0;
}

bool blx_stretch_is_scattered(const struct blx_stretch *stretch)
{
    return stretch->frame_blocks > WORTH * stretch->data_blocks;
}

/* The last run that begins at the block or before it; NULL: there is none. */
static const struct blx_stretch_run *find_run(const struct blx_stretch *stretch, uint64_t block)
{
    size_t low = 0, high = stretch->run_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (stretch->runs[middle].extent.start_block <= block)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 ? &stretch->runs[low - 1] : NULL;
}

/* `lock` guards `next` and `rc`. */
struct filling {
    struct blx_stretch *stretch;
    struct blx_view *view;
    pthread_mutex_t lock;
    size_t next;
    int rc; /* -ENOMEM: it fails as a whole */
};

static void take_blocks(struct blx_stretch *stretch, const struct blx_plan_frame *planned,
                        const struct blx_stored_frame *stored)
{
    struct blx_stored_cursor cursor = {.frame = &stored->frame};
    for (size_t i = 0; i < planned->count; i++) {
        const struct blx_index_entry *entry = &stretch->plan.index.entries[planned->first + i];
        const struct blx_extent *extent = &entry->extent;
        if (!blx_stored_frame_holds(&cursor, entry))
            continue;
        const struct blx_stretch_run *run = find_run(stretch, extent->start_block);
        uint64_t place = run->place + (extent->start_block - run->extent.start_block);
        memcpy(stretch->bytes + (place << stretch->block_shift),
               stored->data.bytes + ((uint64_t)entry->data_block << stretch->block_shift),
               extent->block_count << stretch->block_shift);
        memset(stretch->present + place, true, extent->block_count);
    }
}

static const struct blx_plan_frame *take_frame(struct filling *filling)
{
    const struct blx_plan *plan = &filling->stretch->plan;
    const struct blx_plan_frame *planned = NULL;
    pthread_mutex_lock(&filling->lock);
    if (filling->rc == 0 && filling->next < plan->frame_count)
        planned = &plan->frames[filling->next++];
    pthread_mutex_unlock(&filling->lock);
    return planned;
}

static void prefetch(const struct filling *filling, const struct blx_plan_frame *planned)
{
    const struct blx_plan *plan = &filling->stretch->plan;
    size_t at = (size_t)(planned - plan->frames) + PREFETCHED_FRAMES;
    if (at >= plan->frame_count)
        return;
    const struct blx_index_entry *entry = &plan->index.entries[plan->frames[at].first];
    blx_segment_reader_prefetch(blx_view_find_segment(filling->view, entry->segment),
                                entry->frame_offset, entry->frame_bytes);
}

static void fill_frames(void *arg)
{
    struct filling *filling = arg;
    BLX_CLEANUP(blx_stored_frame_done) struct blx_stored_frame stored = {0};
    const struct blx_plan_frame *planned;
    while ((planned = take_frame(filling)) != NULL) {
        const struct blx_index_entry *entry = &filling->stretch->plan.index.entries[planned->first];
        struct blx_error cause = {0};
        prefetch(filling, planned);
        int rc = blx_view_read_frame(filling->view, entry, &stored, &cause);
        if (rc == 0)
            take_blocks(filling->stretch, planned, &stored);
        if (rc != -ENOMEM)
            continue; /* whoever reads the blocks is told */
        pthread_mutex_lock(&filling->lock);
        filling->rc = rc;
        pthread_mutex_unlock(&filling->lock);
    }
}

static void report_nothing(void *arg)
{
    (void)arg;
}

static int run_crew(struct filling *filling)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    const struct blx_stretch *stretch = filling->stretch;
    const struct blx_crew crew = {.workers =
                                      blx_crew_size(online < 1 ? 1 : (size_t)online,
                                                    stretch->frame_blocks << stretch->block_shift,
                                                    stretch->plan.frame_count),
                                  .work = fill_frames,
                                  .report = report_nothing,
                                  .arg = filling};
    pthread_mutex_init(&filling->lock, NULL);
    int rc = blx_crew_run(&crew);
    pthread_mutex_destroy(&filling->lock);
    return rc < 0 ? rc : filling->rc;
}

int blx_stretch_fill(struct blx_stretch *stretch, struct blx_view *view, struct blx_error *err)
{
    struct filling filling = {.stretch = stretch, .view = view};
    stretch->bytes = malloc(stretch->data_blocks << stretch->block_shift);
    stretch->present = calloc(stretch->data_blocks, sizeof(stretch->present[0]));
    if (stretch->bytes == NULL || stretch->present == NULL)
        return no_memory(err);
    int rc = run_crew(&filling);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot read what is stored");
    blx_plan_done(&stretch->plan);
    return 0;
}

/* Data from the offset on, which lies in the run. */
static size_t copy_run(const struct blx_stretch *stretch, const struct blx_stretch_run *run,
                       void *buffer, size_t bytes, uint64_t offset)
{
    unsigned shift = stretch->block_shift;
    uint64_t skip = offset - (run->extent.start_block << shift);
    uint64_t left = (run->extent.block_count << shift) - skip;
    uint64_t place = run->place + (skip >> shift), end = place;
    bytes = bytes < left ? bytes : (size_t)left;
    uint64_t last = run->place + ((skip + bytes - 1) >> shift);
    while (end <= last && stretch->present[end])
        end++;
    uint64_t there = ((end - run->place) << shift) - skip;
    if (end == place)
        return 0;
    bytes = bytes < there ? bytes : (size_t)there;
    memcpy(buffer, stretch->bytes + (run->place << shift) + skip, bytes);
    return bytes;
}

size_t blx_stretch_copy(const struct blx_stretch *stretch, void *buffer, size_t bytes,
                        uint64_t offset_bytes, uint64_t *data_bytes)
{
    unsigned shift = stretch->block_shift;
    uint8_t *to = buffer;
    size_t done = 0;
    if (offset_bytes < stretch->start_bytes)
        return 0;
    while (done < bytes && offset_bytes + done < stretch->end_bytes) {
        uint64_t at = offset_bytes + done;
        const struct blx_stretch_run *run = find_run(stretch, at >> shift);
        if (run != NULL && at >> shift < blx_extent_end(run->extent)) {
            size_t part = copy_run(stretch, run, to + done, bytes - done, at);
            if (part == 0)
                break;
            *data_bytes += part;
            done += part;
            continue;
        }
        const struct blx_stretch_run *next = run != NULL ? run + 1 : stretch->runs;
        uint64_t end = next < stretch->runs + stretch->run_count ? next->extent.start_block << shift
                                                                 : stretch->end_bytes;
        size_t part = bytes - done < end - at ? bytes - done : (size_t)(end - at);
        memset(to + done, 0, part);
        done += part;
    }
    return done;
}
