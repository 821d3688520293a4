/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/copies.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/name.h"
#include "base/text.h"
#include "store/checkpoint/manifest_file.h"

struct dispatcher_copy_entry {
    char agent_id[BLX_NAME_BYTES];
    blx_timestamp last;      /* what follows holds for this last checkpoint, */
    struct timespec changed; /* and for the record that was changed then; 0: there was none */
    ino_t record;
    bool has_record;
    struct blx_elsewhere *elsewhere; /* owned */
    blx_timestamp waiting;
};

void dispatcher_copies_init(struct dispatcher_copies *copies,
                            const struct blx_config_object_store *wish)
{
    *copies = (struct dispatcher_copies){.wish = wish, .lock = PTHREAD_MUTEX_INITIALIZER};
}

void dispatcher_copies_done(struct dispatcher_copies *copies)
{
    for (size_t i = 0; i < copies->count; i++)
        free(copies->entries[i].elsewhere);
    free(copies->entries);
    pthread_mutex_destroy(&copies->lock);
}

/* NULL: no memory. */
static struct dispatcher_copy_entry *find_locked(struct dispatcher_copies *copies, const char *id)
{
    for (size_t i = 0; i < copies->count; i++)
        if (strcmp(copies->entries[i].agent_id, id) == 0)
            return &copies->entries[i];
    struct blx_elsewhere *elsewhere = calloc(1, sizeof(*elsewhere));
    if (elsewhere == NULL || blx_array_make_room(copies->entries, copies->count) < 0) {
        free(elsewhere);
        return NULL;
    }
    struct dispatcher_copy_entry *entry = &copies->entries[copies->count++];
    *entry = (struct dispatcher_copy_entry){.elsewhere = elsewhere, .last = BLX_TIMESTAMP_MAX};
    blx_text_set(entry->agent_id, id);
    return entry;
}

/* The oldest checkpoint after `newest`; 0: there is none, or it cannot be seen. */
static blx_timestamp find_waiting(struct blx_agent_store agent, blx_timestamp newest)
{
    blx_timestamp *all = NULL, waiting = 0;
    size_t count = 0;
    if (blx_manifest_list(agent, newest + 1, BLX_TIMESTAMP_MAX, &all, &count, NULL) == 0 &&
        count > 0)
        waiting = all[0];
    free(all);
    return waiting;
}

/* A record that cannot be read counts as none, and one of another place, too. */
static void read_again(struct dispatcher_copies *copies, struct blx_agent_store agent,
                       struct dispatcher_copy_entry *entry)
{
    const char *url = copies->wish->url;
    entry->has_record =
        blx_elsewhere_read(agent, entry->elsewhere, NULL) == 1 &&
        (url == NULL || strncmp(entry->elsewhere->place, url, BLX_TEXT_BYTES - 1) == 0);
    blx_timestamp newest = entry->has_record ? entry->elsewhere->newest : 0;
    entry->waiting = entry->last > newest ? find_waiting(agent, newest) : 0;
}

static void refresh_locked(struct dispatcher_copies *copies, struct blx_agent_store agent,
                           blx_timestamp last, struct dispatcher_copy_entry *entry)
{
    char path[PATH_MAX];
    struct stat st = {0};
    if (blx_elsewhere_path(agent, path, NULL) < 0 || stat(path, &st) != 0)
        st = (struct stat){0};
    if (entry->last == last && entry->record == st.st_ino &&
        entry->changed.tv_sec == st.st_mtim.tv_sec && entry->changed.tv_nsec == st.st_mtim.tv_nsec)
        return;
    entry->last = last;
    entry->record = st.st_ino;
    entry->changed = st.st_mtim;
    read_again(copies, agent, entry);
}

/* For how long the waiting one has been due. A clock that was wrong may have given names of the
 * future: then the time of the copy counts. */
static uint64_t due_for_s(const struct blx_config_object_store *wish, blx_timestamp newest,
                          uint64_t copied_s, blx_timestamp waiting, uint64_t now_s)
{
    uint64_t due_s = (uint64_t)blx_timestamp_to_unix(waiting), after_s = 0;
    if (newest != 0)
        after_s = (uint64_t)blx_timestamp_to_unix(newest);
    if (after_s > now_s)
        after_s = copied_s;
    if (due_s > now_s)
        due_s = copied_s;
    after_s += newest != 0 ? wish->every_ms / 1000 : 0;
    if (due_s < after_s)
        due_s = after_s;
    return now_s > due_s ? now_s - due_s : 0;
}

static void judge_lock(const struct blx_elsewhere *elsewhere, uint64_t now_s,
                       struct blx_control_copy *copy)
{
    copy->some_may = elsewhere->lock == BLX_COPIED_GOVERNANCE;
    if (elsewhere->newest == 0)
        blx_text_set(copy->not_locked, "nothing is copied");
    else if (elsewhere->not_locked[0] != '\0')
        blx_text_set(copy->not_locked, elsewhere->not_locked);
    else if (copy->locked_until_s == 0)
        blx_text_set(copy->not_locked, "it was copied without a lock");
    else if (copy->locked_until_s <= now_s)
        blx_text_set(copy->not_locked, "the lock has ended: nothing was copied for as long");
    copy->locked = copy->not_locked[0] == '\0';
}

void dispatcher_copies_judge(const struct blx_config_object_store *wish,
                             const struct blx_elsewhere *elsewhere, blx_timestamp waiting,
                             uint64_t now_realtime_ns, struct blx_control_copy *copy)
{
    static const struct blx_elsewhere none = {0};
    uint64_t now_s = now_realtime_ns / BLX_NS_PER_S;
    if (elsewhere == NULL)
        elsewhere = &none;
    *copy = (struct blx_control_copy){
        .wants_lock = wish->url != NULL && wish->lock != BLX_OBJECT_LOCK_NONE,
        .newest = elsewhere->newest,
        .copied_s = (uint64_t)elsewhere->copied_s,
        .locked_until_s = (uint64_t)elsewhere->locked_until_s,
        .tried_s = (uint64_t)elsewhere->tried_s,
        .strange = elsewhere->strange_count,
    };
    blx_text_set(copy->place, wish->url != NULL ? wish->url : elsewhere->place);
    blx_text_set(copy->failure, elsewhere->failure);
    judge_lock(elsewhere, now_s, copy);
    if (wish->url == NULL || waiting == 0)
        return;
    copy->waiting_s = due_for_s(wish, copy->newest, copy->copied_s, waiting, now_s);
    copy->late = copy->waiting_s > wish->every_ms / 1000 + DISPATCHER_COPY_SLACK_S;
}

enum dispatcher_copied dispatcher_copies_look(struct dispatcher_copies *copies,
                                              struct blx_agent_store agent, blx_timestamp last,
                                              uint64_t now_realtime_ns,
                                              struct blx_control_copy *copy)
{
    static const struct blx_config_object_store no_wish;
    const struct blx_config_object_store *wish =
        copies->wish->url != NULL && blx_config_copies_agent(copies->wish, agent.id) ? copies->wish
                                                                                     : &no_wish;
    enum dispatcher_copied found = DISPATCHER_NOT_COPIED;
    pthread_mutex_lock(&copies->lock);
    struct dispatcher_copy_entry *entry = find_locked(copies, agent.id);
    if (entry != NULL) {
        refresh_locked(copies, agent, last, entry);
        found = entry->has_record || wish->url != NULL ? DISPATCHER_COPIED : DISPATCHER_NOT_COPIED;
        dispatcher_copies_judge(wish, entry->has_record ? entry->elsewhere : NULL, entry->waiting,
                                now_realtime_ns, copy);
        blx_text_set(copy->agent_id, agent.id);
    }
    pthread_mutex_unlock(&copies->lock);
    return found;
}
