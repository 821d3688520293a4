/* SPDX-License-Identifier: Apache-2.0 */
#include "store/prune/prune_agent_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "store/checkpoint/manifest_file.h"
#include "store/directory_private.h"
#include "store/prune/newest_private.h"

void blx_prune_agent_forget(struct blx_prune_agent *agent)
{
    for (size_t i = 0; i < agent->count; i++)
        blx_manifest_done(&agent->checkpoints[i].manifest);
    free(agent->checkpoints);
    agent->checkpoints = NULL;
    agent->count = 0;
}

void blx_prune_agent_done(struct blx_prune_agent *agent)
{
    blx_prune_agent_forget(agent);
    blx_agent_lock_close(&agent->lock);
}

size_t blx_prune_agent_find(const struct blx_prune_agent *agent, blx_timestamp timestamp)
{
    size_t low = 0, high = agent->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (agent->checkpoints[middle].timestamp < timestamp)
            low = middle + 1;
        else
            high = middle;
    }
    return low < agent->count && agent->checkpoints[low].timestamp == timestamp ? low : SIZE_MAX;
}

static int no_memory(const struct blx_prune_agent *agent, struct blx_error *err)
{
    return blx_error_errno(err, -ENOMEM, "cannot prune the agent '%s'", agent->store.id);
}

static int read_checkpoint(struct blx_prune_agent *agent, blx_timestamp timestamp,
                           struct blx_error *err)
{
    struct blx_prune_checkpoint *checkpoint = &agent->checkpoints[agent->count];
    struct blx_error cause = {0};
    *checkpoint = (struct blx_prune_checkpoint){.timestamp = timestamp, .parent = SIZE_MAX};
    int rc = blx_manifest_read(agent->store, timestamp, &checkpoint->manifest, &cause);
    if (rc == -EBADMSG)
        return blx_error_set(err, rc,
                             "%s; nobody knows which segments it needs, so that nothing is removed "
                             "as long as it is there",
                             cause.message);
    if (rc < 0)
        return blx_error_copy(err, rc, &cause);
    for (uint32_t v = 0; v < checkpoint->manifest.volume_count; v++)
        agent->was_cut_off = agent->was_cut_off || checkpoint->manifest.volumes[v].clearing;
    agent->count++;
    return 0;
}

static void note_newest(void *arg, size_t at)
{
    struct blx_prune_agent *agent = arg;
    agent->checkpoints[at].newest = true;
}

static int find_newest(struct blx_prune_agent *agent, struct blx_error *err)
{
    BLX_CLEANUP(blx_newest_done) struct blx_newest newest = {0};
    for (size_t i = agent->count; i > 0; i--)
        if (blx_newest_note(&newest, i - 1, &agent->checkpoints[i - 1].manifest) < 0)
            return no_memory(agent, err);
    blx_newest_each(&newest, agent->count, note_newest, agent);
    return 0;
}

static void link_all(struct blx_prune_agent *agent)
{
    for (size_t i = 0; i < agent->count; i++) {
        struct blx_prune_checkpoint *checkpoint = &agent->checkpoints[i];
        if (checkpoint->manifest.parent != 0)
            checkpoint->parent = blx_prune_agent_find(agent, checkpoint->manifest.parent);
        if (checkpoint->parent != SIZE_MAX)
            agent->checkpoints[checkpoint->parent].children++;
    }
}

/* An agent that has no checkpoint yet may have no folder for them. */
static int make_durable(const char *dir, struct blx_error *err)
{
    struct blx_error cause = {0};
    int rc = blx_fsync_dir(dir, &cause);
    return rc == 0 || rc == -ENOENT || rc == -ENOTDIR ? 0 : blx_error_copy(err, rc, &cause);
}

static int make_volume_durable(void *arg, const char *name, struct blx_error *err)
{
    const struct blx_prune_agent *agent = arg;
    char dir[PATH_MAX];
    if (blx_agent_store_volume_path(agent->store, name, dir, NULL) < 0)
        return 0; /* no volume's name */
    return make_durable(dir, err);
}

/* A prune or a rewrite may have died before the names that it changed were durable: nothing may be
 * removed for the sake of a name that could still disappear. */
static int make_names_durable(struct blx_prune_agent *agent, struct blx_error *err)
{
    char dir[PATH_MAX];
    int rc = blx_manifest_dir(agent->store, dir, err);
    if (rc == 0)
        rc = make_durable(dir, err);
    if (rc == 0)
        rc = blx_agent_store_volume_path(agent->store, NULL, dir, err);
    return rc == 0 ? blx_directory_each(dir, make_volume_durable, agent, err) : rc;
}

int blx_prune_agent_open(struct blx_agent_store agent_store, struct blx_prune_agent *agent,
                         struct blx_error *err)
{
    BLX_CLEANUP_FREE blx_timestamp *all = NULL;
    size_t count;
    agent->store = agent_store;
    int rc = make_names_durable(agent, err);
    if (rc == 0)
        rc = blx_manifest_list(agent_store, 0, UINT64_MAX, &all, &count, err);
    if (rc < 0)
        return rc;
    agent->checkpoints = calloc(count + 1, sizeof(agent->checkpoints[0]));
    if (agent->checkpoints == NULL)
        return no_memory(agent, err);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = read_checkpoint(agent, all[i], err);
    if (rc < 0)
        return rc;
    link_all(agent);
    return find_newest(agent, err);
}
