/* SPDX-License-Identifier: Apache-2.0 */
#include "store/restore/pull_view.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "store/restore/pull_private.h"
#include "store/view/view_private.h"

enum { AHEAD_FRAMES = 8, AHEAD_BYTES = 2 << 20 };

/* A frame that came before it was needed. */
struct ahead {
    uint32_t window, number;
    size_t bytes;
    struct blx_stored_bytes packed; /* owned */
};

/* `lock` guards all but what is constant, and the pull. */
struct remote {
    struct blx_pull *pull;     /* constant */
    uint32_t volume;           /* constant */
    bool encrypted;            /* constant */
    struct blx_volume_key key; /* constant */
    pthread_mutex_t lock;
    uint64_t *windows; /* owned; where each begins: an entry's segment counts in it */
    size_t window_count;
    uint32_t last_window, last_number; /* that was fetched */
    struct ahead ahead[AHEAD_FRAMES];
    unsigned ahead_count;
};

static int no_memory(struct blx_error *err)
{
    return blx_error_errno(err, -ENOMEM, "cannot read what is stored");
}

/* The number of the window that begins there. */
static int find_window(struct remote *remote, uint64_t start_block, uint32_t *number,
                       struct blx_error *err)
{
    for (size_t i = 0; i < remote->window_count; i++) {
        if (remote->windows[i] == start_block) {
            *number = (uint32_t)i;
            return 0;
        }
    }
    if (blx_array_make_room(remote->windows, remote->window_count) < 0)
        return no_memory(err);
    *number = (uint32_t)remote->window_count;
    remote->windows[remote->window_count++] = start_block;
    return 0;
}

/* Asks until there is a connection. */
static int take_plan_locked(struct remote *remote, struct blx_plan *plan, struct blx_error *err)
{
    for (;;) {
        struct blx_error why = {0};
        plan->index.count = 0;
        int rc = blx_pull_take_plan(remote->pull, remote->volume, plan, &why);
        if (rc == -ENOLINK)
            rc = blx_pull_reconnect(remote->pull, err);
        else
            return rc < 0 ? blx_error_copy(err, rc, &why) : 0;
        if (rc < 0)
            return rc;
    }
}

static void describe(const struct remote *remote, uint64_t start_block, struct blx_plan *plan)
{
    const struct blx_restore_volume *info = blx_pull_get_volume(remote->pull, remote->volume);
    plan->size_bytes = info->size_bytes;
    plan->block_shift = info->block_shift;
    plan->start_block = start_block;
}

/* Another window may begin before the dispatcher's ends. */
static void clip(struct blx_plan *plan, uint64_t end_block)
{
    if (end_block == 0 || (plan->end_block != 0 && plan->end_block <= end_block))
        return;
    plan->end_block = end_block;
    while (plan->index.count > 0 &&
           plan->index.entries[plan->index.count - 1].extent.start_block >= end_block)
        plan->index.count--;
    if (plan->index.count == 0)
        return;
    struct blx_extent *last = &plan->index.entries[plan->index.count - 1].extent;
    if (blx_extent_end(*last) > end_block)
        last->block_count = end_block - last->start_block;
}

/* An entry's place tells the window, and the frame in its plan: from 1, as 0 is a table's. */
static int add(void *arg, struct blx_plan *plan, struct blx_error *err)
{
    struct remote *remote = arg;
    uint64_t end_block = plan->end_block;
    uint32_t window = 0;
    describe(remote, plan->start_block, plan);
    pthread_mutex_lock(&remote->lock);
    int rc = find_window(remote, plan->start_block, &window, err);
    if (rc == 0)
        rc = take_plan_locked(remote, plan, err);
    pthread_mutex_unlock(&remote->lock);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < plan->index.count; i++) {
        plan->index.entries[i].frame_offset = (uint64_t)plan->index.entries[i].segment + 1;
        plan->index.entries[i].segment = window;
    }
    clip(plan, end_block);
    return 0;
}

/* Has the dispatcher plan the frame's window again, if it has another one. */
static int return_to_locked(struct remote *remote, uint32_t window, struct blx_error *err)
{
    const struct blx_pull *pull = remote->pull;
    uint64_t start_block = remote->windows[window];
    if (pull->planned && pull->plan_volume == remote->volume && pull->plan_start == start_block)
        return 0;
    BLX_CLEANUP(blx_plan_done) struct blx_plan plan = {.max_entries = 0};
    describe(remote, start_block, &plan);
    remote->ahead_count = 0;
    return take_plan_locked(remote, &plan, err);
}

static int receive_frame(struct remote *remote, struct blx_message *message, struct blx_error *err)
{
    int rc = blx_pull_receive(remote->pull, BLX_MESSAGE_FRAME, message, err);
    if (rc == 0 && message->frame.volume != remote->volume)
        rc = blx_error_set(err, -EPROTO, "the dispatcher sent another frame than it was asked for");
    return rc;
}

static int keep_ahead(struct remote *remote, uint32_t window, uint32_t number,
                      const struct blx_message *message, struct blx_error *err)
{
    struct ahead *ahead = &remote->ahead[remote->ahead_count];
    struct blx_stored_frame copy = {.packed = ahead->packed};
    int rc = blx_stored_frame_copy(&copy, message->frame.bytes, message->frame.frame_bytes, err);
    ahead->packed = copy.packed;
    if (rc < 0)
        return rc;
    ahead->window = window;
    ahead->number = number;
    ahead->bytes = message->frame.frame_bytes;
    remote->ahead_count++;
    return 0;
}

/* How many frames are asked for: those that follow too, if it goes on in their order. */
static uint32_t count_wanted(const struct remote *remote, uint32_t window, uint32_t number,
                             uint32_t frame_bytes)
{
    uint32_t left = remote->pull->plan_frames - number;
    uint64_t room = remote->pull->offer.window_bytes / BLX_FRAME_MAX_BYTES; /* at least 1 */
    uint64_t most = AHEAD_BYTES / frame_bytes + 1;
    if (window != remote->last_window || number != remote->last_number + 1)
        return 1;
    most = most < AHEAD_FRAMES ? most : AHEAD_FRAMES;
    most = most < room ? most : room;
    return left < most ? left : (uint32_t)most;
}

static int ask_locked(struct remote *remote, uint32_t window, uint32_t number, uint32_t frame_bytes,
                      struct blx_stored_frame *stored, struct blx_error *err)
{
    int rc = return_to_locked(remote, window, err);
    if (rc == 0 && number >= remote->pull->plan_frames)
        rc = blx_error_set(err, -EBADMSG, "the dispatcher's plan has changed");
    if (rc < 0)
        return rc;
    struct blx_message message = {
        .type = BLX_MESSAGE_FRAMES_REQUEST,
        .frames_request = {.volume = remote->volume,
                           .first = number,
                           .count = count_wanted(remote, window, number, frame_bytes)}};
    uint32_t count = message.frames_request.count;
    remote->ahead_count = 0;
    rc = blx_pull_send(remote->pull, &message, err);
    if (rc == 0)
        rc = receive_frame(remote, &message, err);
    if (rc == 0 && message.frame.frame_bytes != frame_bytes)
        rc = blx_error_set(err, -EPROTO, "the dispatcher sent another frame than it was asked for");
    if (rc == 0)
        rc = blx_stored_frame_copy(stored, message.frame.bytes, frame_bytes, err);
    for (uint32_t i = 1; rc == 0 && i < count; i++) {
        rc = receive_frame(remote, &message, err);
        if (rc == 0)
            rc = keep_ahead(remote, window, number + i, &message, err);
    }
    return rc;
}

static int take_ahead(struct remote *remote, uint32_t window, uint32_t number, uint32_t frame_bytes,
                      struct blx_stored_frame *stored, struct blx_error *err)
{
    for (unsigned i = 0; i < remote->ahead_count; i++) {
        const struct ahead *ahead = &remote->ahead[i];
        if (ahead->window == window && ahead->number == number && ahead->bytes == frame_bytes)
            return blx_stored_frame_copy(stored, ahead->packed.bytes, frame_bytes, err);
    }
    return -ENOENT;
}

static int get_locked(struct remote *remote, const struct blx_index_entry *entry,
                      struct blx_stored_frame *stored, struct blx_error *err)
{
    uint32_t window = entry->segment, number = (uint32_t)(entry->frame_offset - 1);
    int rc = take_ahead(remote, window, number, entry->frame_bytes, stored, err);
    while (rc == -ENOENT || rc == -ENOLINK) {
        struct blx_error why = {0};
        rc = ask_locked(remote, window, number, entry->frame_bytes, stored, &why);
        if (rc == -ENOLINK && blx_pull_reconnect(remote->pull, err) < 0)
            return -EBADMSG;
        if (rc < 0 && rc != -ENOLINK) {
            blx_pull_hang_up(remote->pull); /* nobody knows what is on its way */
            return blx_error_copy(err, rc, &why);
        }
    }
    remote->last_window = window;
    remote->last_number = number;
    return rc;
}

static int fetch(void *arg, const struct blx_index_entry *entry, struct blx_stored_frame *stored,
                 struct blx_error *err)
{
    struct remote *remote = arg;
    pthread_mutex_lock(&remote->lock);
    int rc = get_locked(remote, entry, stored, err);
    pthread_mutex_unlock(&remote->lock);
    if (rc < 0)
        return rc;
    rc = blx_stored_frame_parse(stored, entry->frame_bytes, remote->encrypted ? &remote->key : NULL,
                                err);
    const struct blx_restore_volume *info = blx_pull_get_volume(remote->pull, remote->volume);
    if (rc == 0 && stored->frame.block_shift != info->block_shift)
        rc = blx_error_set(err, -EBADMSG, "it has another block size than its volume");
    if (rc < 0)
        blx_error_prefix(err, "the dispatcher sent a frame that is damaged");
    return rc;
}

static void done(void *arg)
{
    struct remote *remote = arg;
    for (unsigned i = 0; i < AHEAD_FRAMES; i++)
        free(remote->ahead[i].packed.bytes);
    free(remote->windows);
    blx_volume_key_wipe(&remote->key);
    pthread_mutex_destroy(&remote->lock);
    free(remote);
}

int blx_pull_view_open(struct blx_pull *pull, uint32_t volume, const struct blx_keyring *keys,
                       struct blx_frame_cache *cache, struct blx_view **view, struct blx_error *err)
{
    const struct blx_restore_volume *info = blx_pull_get_volume(pull, volume);
    const struct blx_key *key = NULL;
    int rc = blx_keyring_choose(keys, &info->key_id, &key, err);
    if (rc < 0)
        return rc;
    struct remote *remote = calloc(1, sizeof(*remote));
    if (remote == NULL)
        return no_memory(err);
    remote->pull = pull;
    remote->volume = volume;
    remote->encrypted = key != NULL;
    remote->key.id = info->key_id;
    pthread_mutex_init(&remote->lock, NULL);
    if (key != NULL)
        rc = blx_volume_key_derive(key, pull->offer.agent_id, info->name, &remote->key, err);
    if (rc < 0) {
        done(remote);
        return rc;
    }
    const struct blx_view_source source = {.add = add,
                                           .done = done,
                                           .fetch = fetch,
                                           .arg = remote,
                                           .key_id = info->key_id,
                                           .cache = cache};
    return blx_view_open_source(&source, view, err);
}
