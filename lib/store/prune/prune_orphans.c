/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Volumes that got frames and never a checkpoint, or whose last checkpoint is gone: their folders
 * are removed when nobody has touched them for BLX_PRUNE_ORPHAN_S. A session touches the folder of
 * each of its volumes when it begins. If it loses such a folder all the same, its next checkpoint
 * fails and a full pass follows.
 */
#include <errno.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/name.h"
#include "store/directory_private.h"
#include "store/prune/prune.h"
#include "store/prune/prune_agent_private.h"

struct orphans {
    struct blx_prune_agent *agent;
    const char *dir;
    int64_t now_s;
};

static bool has_checkpoint(const struct blx_prune_agent *agent, const char *volume)
{
    for (size_t i = 0; i < agent->count; i++)
        if (!agent->checkpoints[i].gone &&
            blx_manifest_find(&agent->checkpoints[i].manifest, volume) != NULL)
            return true;
    return false;
}

/* A folder or a file that was touched lately. */
static bool is_young(const struct orphans *orphans, const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && st.st_mtime > orphans->now_s - BLX_PRUNE_ORPHAN_S;
}

/* 1 if it is young. */
static int look_at_file(void *arg, const char *name, struct blx_error *err)
{
    const struct orphans *volume = arg;
    char path[PATH_MAX];
    int rc = blx_path_format(path, sizeof(path), err, "%s/%s", volume->dir, name);
    return rc < 0 ? rc : is_young(volume, path);
}

static int add_bytes(void *arg, const char *name, struct blx_error *err)
{
    const struct orphans *volume = arg;
    char path[PATH_MAX];
    struct stat st;
    int rc = blx_path_format(path, sizeof(path), err, "%s/%s", volume->dir, name);
    if (rc == 0 && lstat(path, &st) == 0)
        volume->agent->report->freed_bytes += (uint64_t)st.st_blocks * 512;
    return rc;
}

static int visit_volume(void *arg, const char *name, struct blx_error *err)
{
    const struct orphans *orphans = arg;
    char path[PATH_MAX];
    struct orphans volume = {.agent = orphans->agent, .dir = path, .now_s = orphans->now_s};
    if (blx_name_check("volume name", name, NULL) < 0 || has_checkpoint(orphans->agent, name))
        return 0;
    int rc = blx_path_format(path, sizeof(path), err, "%s/%s", orphans->dir, name);
    if (rc < 0 || is_young(orphans, path))
        return rc;
    rc = blx_directory_each(path, look_at_file, &volume, err);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    rc = blx_directory_each(path, add_bytes, &volume, err);
    return rc == 0 ? blx_directory_remove(path, err) : rc;
}

int blx_prune_orphans(struct blx_prune_agent *agent, struct blx_error *err)
{
    char dir[PATH_MAX];
    struct orphans orphans = {
        .agent = agent, .dir = dir, .now_s = (int64_t)(blx_clock_realtime_ns() / BLX_NS_PER_S)};
    int rc = blx_agent_store_volume_path(agent->store, NULL, dir, err);
    return rc == 0 ? blx_directory_each(dir, visit_volume, &orphans, err) : rc;
}
