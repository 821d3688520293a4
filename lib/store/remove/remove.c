/* SPDX-License-Identifier: Apache-2.0 */
#include "store/remove/remove_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "store/checkpoint/manifest_file.h"
#include "store/checkpoint/pin.h"
#include "store/directory_private.h"
#include "store/reserve.h"

struct measure {
    struct blx_removal *removal;
    const char *path;
};

static int measure_entry(void *arg, const char *name, struct blx_error *err)
{
    const struct measure *measure = arg;
    char path[PATH_MAX];
    struct stat st;
    int rc = blx_path_format(path, sizeof(path), err, "%s/%s", measure->path, name);
    if (rc < 0 || lstat(path, &st) != 0)
        return rc;
    measure->removal->report->bytes += (uint64_t)st.st_blocks * 512;
    return S_ISDIR(st.st_mode) ? blx_removal_measure(measure->removal, path, err) : 0;
}

int blx_removal_measure(struct blx_removal *removal, const char *path, struct blx_error *err)
{
    struct measure measure = {.removal = removal, .path = path};
    return blx_directory_each(path, measure_entry, &measure, err);
}

static bool is_named(const struct blx_remove_request *request, blx_timestamp checkpoint)
{
    for (size_t i = 0; i < request->named_count; i++)
        if (request->named[i] == checkpoint)
            return true;
    return false;
}

int blx_removal_hurt(struct blx_removal *removal, blx_timestamp checkpoint, struct blx_error *err)
{
    struct blx_remove_report *report = removal->report;
    bool pinned = false;
    int rc = blx_pin_read(removal->agent.store, checkpoint, &pinned, err);
    if (rc < 0)
        return rc;
    if (pinned && !is_named(removal->request, checkpoint))
        return blx_error_set(err, -EPERM,
                             "the checkpoint %llu of '%s' is pinned, so nothing is removed: unpin "
                             "it, or name it with --checkpoint=%llu",
                             (unsigned long long)checkpoint, removal->agent.store.id,
                             (unsigned long long)checkpoint);
    if (report->oldest == 0)
        report->oldest = checkpoint;
    report->newest = checkpoint;
    return 0;
}

/* Calls visit() for the name of each volume that has a folder. */
struct volumes {
    struct blx_removal *removal;
    const char *dir;
    int (*visit)(struct blx_removal *removal, const char *volume, struct blx_error *err);
};

static int visit_volume(void *arg, const char *name, struct blx_error *err)
{
    const struct volumes *volumes = arg;
    char path[PATH_MAX];
    struct stat st;
    if (blx_name_check("volume name", name, NULL) < 0)
        return 0;
    int rc = blx_path_format(path, sizeof(path), err, "%s/%s", volumes->dir, name);
    if (rc < 0 || lstat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return rc;
    return volumes->visit(volumes->removal, name, err);
}

static int each_volume(struct blx_removal *removal,
                       int (*visit)(struct blx_removal *removal, const char *volume,
                                    struct blx_error *err),
                       struct blx_error *err)
{
    char dir[PATH_MAX];
    const char *only = removal->request->volume;
    struct volumes volumes = {.removal = removal, .dir = dir, .visit = visit};
    if (only != NULL)
        return visit(removal, only, err);
    int rc = blx_agent_store_volume_path(removal->agent.store, NULL, dir, err);
    return rc == 0 ? blx_directory_each(dir, visit_volume, &volumes, err) : rc;
}

static int count_volume(struct blx_removal *removal, const char *volume, struct blx_error *err)
{
    (void)volume;
    (void)err;
    removal->report->volumes++;
    return 0;
}

static int agent_paths(const struct blx_removal *removal, char path[PATH_MAX],
                       char hidden[PATH_MAX], struct blx_error *err)
{
    int rc = blx_agent_store_path(removal->agent.store, path, err);
    return rc == 0 ? blx_directory_hidden(path, hidden, err) : rc;
}

/* The manifests need not be good for that. */
static int look_at_all(struct blx_removal *removal, struct blx_error *err)
{
    char path[PATH_MAX], hidden[PATH_MAX];
    BLX_CLEANUP_FREE blx_timestamp *all = NULL;
    size_t count = 0;
    int rc = agent_paths(removal, path, hidden, err);
    if (rc == 0)
        rc = blx_removal_measure(removal, hidden, err);
    if (rc == 0 && blx_agent_store_exists(removal->agent.store))
        rc = blx_manifest_list(removal->agent.store, 0, UINT64_MAX, &all, &count, err);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = blx_removal_hurt(removal, all[i], err);
    removal->report->checkpoints = count;
    if (rc == 0)
        rc = blx_removal_measure(removal, path, err);
    return rc == 0 ? each_volume(removal, count_volume, err) : rc;
}

static bool is_hidden(const struct blx_removal *removal)
{
    char path[PATH_MAX], hidden[PATH_MAX];
    struct stat st;
    return agent_paths(removal, path, hidden, NULL) == 0 && lstat(hidden, &st) == 0;
}

/* A removal of all that was cut off can be repeated. */
static int check_known(const struct blx_removal *removal, struct blx_error *err)
{
    int rc = blx_name_check("agent ID", removal->agent.store.id, err);
    if (rc < 0 || (removal->request->part == BLX_REMOVE_ALL && is_hidden(removal)))
        return rc;
    return blx_agent_store_check(removal->agent.store, err);
}

static int look(struct blx_removal *removal, struct blx_error *err)
{
    enum blx_remove_part part = removal->request->part;
    *removal->report = (struct blx_remove_report){0};
    int rc = check_known(removal, err);
    if (rc < 0 || part == BLX_REMOVE_ALL)
        return rc < 0 ? rc : look_at_all(removal, err);
    rc = blx_prune_agent_open(removal->agent.store, &removal->agent, err);
    if (rc < 0)
        return rc;
    return part == BLX_REMOVE_VOLUME ? blx_removal_look_at_volume(removal, err)
                                     : each_volume(removal, blx_removal_look_at_rest, err);
}

static void removal_done(struct blx_removal *removal)
{
    blx_prune_agent_done(&removal->agent);
}

int blx_remove_look(struct blx_agent_store agent, const struct blx_remove_request *request,
                    struct blx_remove_report *report, struct blx_error *err)
{
    BLX_CLEANUP(removal_done)
    struct blx_removal removal = {
        .request = request, .report = report, .agent = {.store = agent, .lock = {.fd = -1}}};
    return look(&removal, err);
}

static int lock_all(struct blx_removal *removal, struct blx_error *err)
{
    struct blx_agent_lock *lock = &removal->agent.lock;
    const char *id = removal->agent.store.id;
    struct blx_error busy = {0};
    int rc = blx_agent_lock_open(removal->agent.store, lock, err);
    if (rc < 0)
        return rc;
    rc = blx_agent_lock_alone(lock, BLX_LOCK_SESSION, 0, &busy);
    if (rc == -EBUSY)
        return blx_error_set(err, rc,
                             "the agent '%s' is connected (or another removal of it is running): "
                             "shut it out first with `blxrep dispatcher revoke --agent=%s`",
                             id, id);
    return rc < 0 ? blx_error_copy(err, rc, &busy) : blx_agent_lock_others(lock, err);
}

/* The lock goes with the folder: whoever waits for it finds that out (agent_lock.h). */
static int take_all(struct blx_removal *removal, struct blx_error *err)
{
    char path[PATH_MAX];
    int rc = blx_agent_store_path(removal->agent.store, path, err);
    return rc == 0 ? blx_directory_remove(path, err) : rc;
}

static int take(struct blx_removal *removal, struct blx_error *err)
{
    switch (removal->request->part) {
    case BLX_REMOVE_VOLUME:
        return blx_removal_take_volume(removal, err);
    case BLX_REMOVE_UNCOMMITTED:
        return each_volume(removal, blx_removal_take_rest, err);
    case BLX_REMOVE_ALL:
        break;
    }
    return take_all(removal, err);
}

int blx_remove(struct blx_agent_store agent, const struct blx_remove_request *request,
               struct blx_remove_report *report, struct blx_error *err)
{
    BLX_CLEANUP(removal_done)
    struct blx_removal removal = {
        .request = request, .report = report, .agent = {.store = agent, .lock = {.fd = -1}}};
    int rc = check_known(&removal, err);
    if (rc < 0)
        return rc;
    blx_reserve_release(agent.store);
    if (blx_agent_store_exists(agent))
        rc = lock_all(&removal, err);
    if (rc == 0)
        rc = look(&removal, err);
    if (rc == 0 && report->oldest != 0)
        rc = blx_agent_lock_check_readers(&removal.agent.lock, agent, err);
    if (rc == 0)
        rc = take(&removal, err);
    blx_reserve_refill(agent.store);
    return rc;
}

struct finish {
    const struct blx_store *store;
    size_t *finished;
};

static int finish_agent(void *arg, const char *name, struct blx_error *err)
{
    const struct finish *finish = arg;
    char dir[PATH_MAX];
    if (blx_agent_store_volume_path(blx_store_agent(finish->store, name), NULL, dir, NULL) < 0)
        return 0;
    return blx_directory_remove_hidden(dir, finish->finished, err);
}

int blx_remove_finish(const struct blx_store *store, size_t *finished, struct blx_error *err)
{
    char dir[PATH_MAX];
    struct finish finish = {.store = store, .finished = finished};
    *finished = 0;
    int rc = blx_path_format(dir, sizeof(dir), err, "%s/agents", store->data_dir);
    if (rc == 0)
        rc = blx_directory_remove_hidden(dir, finished, err);
    return rc == 0 ? blx_directory_each(dir, finish_agent, &finish, err) : rc;
}
