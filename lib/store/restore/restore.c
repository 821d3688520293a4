/* SPDX-License-Identifier: Apache-2.0 */
#include "store/restore/restore.h"

#include <errno.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "store/directory_private.h"
#include "store/restore/restore_run_private.h"
#include "store/view/volume_secret_private.h"

/* A restore from the store. */
struct job {
    struct blx_agent_store agent;
    blx_timestamp checkpoint;
    const char *volume;
    struct blx_volume_secret secret;
};

static void job_done(struct job *job)
{
    blx_volume_secret_wipe(&job->secret);
}

static int plan_window(void *arg, struct blx_plan *plan, struct blx_error *err)
{
    const struct job *job = arg;
    return blx_plan_make(job->agent, job->checkpoint, job->volume, plan, err);
}

static int fetch(void *arg, const struct blx_plan *plan, size_t number,
                 struct blx_stored_frame *stored, struct blx_error *err)
{
    (void)arg;
    const struct blx_index_entry *entry = &plan->index.entries[plan->frames[number].first];
    return blx_stored_frame_read(stored, plan->segments[entry->segment], entry, plan->key, err);
}

static int lacks(void *arg, const struct blx_plan *plan, const struct blx_index_entry *entry,
                 uint64_t seq, struct blx_error *err)
{
    (void)arg;
    return blx_stored_frame_lacks(plan->segments[entry->segment], seq, err);
}

int blx_restore(struct blx_agent_store agent, blx_timestamp checkpoint, const char *volume,
                const struct blx_restore_target *target,
                const struct blx_restore_progress *progress, struct blx_error *err)
{
    BLX_CLEANUP(job_done)
    struct job job = {.agent = agent, .volume = volume, .checkpoint = checkpoint};
    /* Each plan holds the checkpoint, too; this is for the time between two. */
    BLX_CLEANUP(blx_agent_lock_close) struct blx_agent_lock lock = {.fd = -1};
    int rc = blx_agent_lock_begin(agent, checkpoint, &lock, err);
    if (rc == 0)
        rc = blx_volume_secret_find(agent, checkpoint, volume, target->keys, &job.secret, err);
    blx_agent_lock_release(&lock, BLX_LOCK_CHAINS);
    const struct blx_restore_source source = {.plan = plan_window,
                                              .fetch = fetch,
                                              .lacks = lacks,
                                              .arg = &job,
                                              .key = blx_volume_secret_key(&job.secret),
                                              .way_out = " (--force writes the rest)"};
    struct blx_restore_run run = {.source = &source, .target = target, .progress = progress};
    if (rc == 0)
        rc = blx_restore_run(&run, err);
    if (rc < 0)
        blx_error_prefix(err, "cannot restore the checkpoint %llu of '%s'",
                         (unsigned long long)checkpoint, agent.id);
    return rc;
}

int blx_restore_image_path(const char *folder, const char *agent_id,
                           const struct blx_manifest *manifest, const char *volume,
                           enum blx_image_format format, char path[PATH_MAX], struct blx_error *err)
{
    bool several = manifest->volume_count > 1;
    int rc = blx_name_check("agent ID", agent_id, err);
    if (rc == 0)
        rc = blx_name_check("volume name", volume, err);
    if (rc < 0)
        return rc;
    return blx_path_format(path, PATH_MAX, err, "%s/%s-%llu%s%s.%s", folder, agent_id,
                           (unsigned long long)manifest->timestamp, several ? "-" : "",
                           several ? volume : "", blx_image_format_extension(format));
}

int blx_restore_default_path(struct blx_agent_store agent, const struct blx_manifest *manifest,
                             const char *volume, enum blx_image_format format, char path[PATH_MAX],
                             struct blx_error *err)
{
    char folder[PATH_MAX];
    int rc = blx_path_format(folder, sizeof(folder), err, "%s/restore", agent.store->data_dir);
    if (rc == 0)
        rc = blx_directory_make(folder, err);
    return rc == 0 ? blx_restore_image_path(folder, agent.id, manifest, volume, format, path, err)
                   : rc;
}
