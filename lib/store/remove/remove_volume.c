/* SPDX-License-Identifier: Apache-2.0 */
/* Takes one volume out of all checkpoints. The newest is written first: a crash leaves older ones
 * that have the volume with its whole chain, and newer ones that do not have it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "store/checkpoint/manifest_file.h"
#include "store/checkpoint/pin.h"
#include "store/checkpoint/tested.h"
#include "store/signal/suspicion.h"
#include "store/directory_private.h"
#include "store/remove/remove_private.h"

static bool has_volume(const struct blx_removal *removal, size_t at)
{
    return blx_manifest_find(&removal->agent.checkpoints[at].manifest, removal->request->volume) !=
           NULL;
}

/* It has no other one. One that carries on other chains only does not count as having them. */
static bool is_doomed(const struct blx_removal *removal, size_t at)
{
    const struct blx_manifest *manifest = &removal->agent.checkpoints[at].manifest;
    return manifest->volume_count == 1 && blx_manifest_has(manifest, removal->request->volume);
}

/* A checkpoint that goes must not hold what a prune has handed down of another volume's chain. */
static int check_carried(const struct blx_removal *removal, size_t at, struct blx_error *err)
{
    const struct blx_manifest *manifest = &removal->agent.checkpoints[at].manifest;
    for (uint32_t i = manifest->volume_count; i < blx_manifest_count_entries(manifest); i++)
        if (manifest->volumes[i].segment_count > 0)
            return blx_error_set(
                err, -EBUSY,
                "the checkpoint %llu carries on the volume '%s', which is away, so "
                "that it cannot go: remove '%s' when that is back in a checkpoint",
                (unsigned long long)manifest->timestamp, manifest->volumes[i].name,
                removal->request->volume);
    return 0;
}

static int add_name(void *arg, const char *name, struct blx_error *err)
{
    char *names = arg;
    size_t used = strlen(names);
    (void)err;
    if (blx_name_check("volume name", name, NULL) == 0)
        snprintf(names + used, BLX_TEXT_BYTES - used, "%s%s", used > 0 ? ", " : "", name);
    return 0;
}

static int unknown_volume(const struct blx_removal *removal, struct blx_error *err)
{
    char dir[PATH_MAX], names[BLX_TEXT_BYTES] = "";
    int rc = blx_agent_store_volume_path(removal->agent.store, NULL, dir, err);
    if (rc == 0)
        rc = blx_directory_each(dir, add_name, names, err);
    return rc < 0 ? rc
                  : blx_error_set(err, -ENOENT, "the agent '%s' has no volume '%s'%s%s",
                                  removal->agent.store.id, removal->request->volume,
                                  names[0] != '\0' ? "; it has " : "", names);
}

int blx_removal_look_at_volume(struct blx_removal *removal, struct blx_error *err)
{
    char dir[PATH_MAX], hidden[PATH_MAX];
    struct blx_remove_report *report = removal->report;
    int rc = blx_agent_store_volume_path(removal->agent.store, removal->request->volume, dir, err);
    if (rc == 0)
        rc = blx_directory_hidden(dir, hidden, err);
    for (size_t i = 0; rc == 0 && i < removal->agent.count; i++) {
        if (!has_volume(removal, i))
            continue;
        rc = is_doomed(removal, i) ? check_carried(removal, i, err) : 0;
        if (rc == 0)
            rc = blx_removal_hurt(removal, removal->agent.checkpoints[i].timestamp, err);
        report->checkpoints += is_doomed(removal, i);
        report->narrowed += !is_doomed(removal, i);
    }
    if (rc == 0)
        rc = blx_removal_measure(removal, dir, err);
    if (rc == 0) /* the rest of a removal that was cut off */
        rc = blx_removal_measure(removal, hidden, err);
    if (rc == 0 && report->oldest == 0 && access(dir, F_OK) != 0 && access(hidden, F_OK) != 0)
        return unknown_volume(removal, err);
    report->volumes = 1;
    return rc;
}

/* The nearest ancestor that stays: only it can hold segments of the other volumes. */
static blx_timestamp find_parent(const struct blx_removal *removal, size_t at)
{
    const struct blx_prune_checkpoint *checkpoints = removal->agent.checkpoints;
    size_t parent = checkpoints[at].parent;
    while (parent != SIZE_MAX && is_doomed(removal, parent))
        if (checkpoints[parent].parent == SIZE_MAX)
            return checkpoints[parent].manifest.parent;
        else
            parent = checkpoints[parent].parent;
    return parent == SIZE_MAX ? checkpoints[at].manifest.parent : checkpoints[parent].timestamp;
}

static void drop_volume(struct blx_manifest *manifest, const char *name)
{
    uint32_t kept = 0, entries = blx_manifest_count_entries(manifest);
    bool carried = !blx_manifest_has(manifest, name);
    for (uint32_t i = 0; i < entries; i++) {
        if (strcmp(manifest->volumes[i].name, name) == 0) {
            free(manifest->volumes[i].segments);
            free(manifest->volumes[i].unreadable);
        } else {
            manifest->volumes[kept++] = manifest->volumes[i];
        }
    }
    manifest->volume_count -= (kept < entries) && !carried;
    manifest->carried_count -= (kept < entries) && carried;
}

static int narrow(struct blx_removal *removal, size_t at, struct blx_error *err)
{
    struct blx_manifest *manifest = &removal->agent.checkpoints[at].manifest;
    blx_timestamp parent = find_parent(removal, at);
    if (!has_volume(removal, at) && parent == manifest->parent)
        return 0;
    BLX_CLEANUP_MANIFEST struct blx_manifest changed = {0};
    int rc = blx_manifest_copy(manifest, &changed, err);
    if (rc == 0 && blx_manifest_has(manifest, removal->request->volume)) /* another server now */
        rc = blx_tested_remove_locked(removal->agent.store, manifest->timestamp, err);
    if (rc < 0)
        return rc;
    drop_volume(&changed, removal->request->volume);
    changed.parent = parent;
    return blx_manifest_replace(removal->agent.store, &changed, err);
}

static int unlink_manifest(struct blx_removal *removal, size_t at, struct blx_error *err)
{
    char path[PATH_MAX];
    blx_timestamp timestamp = removal->agent.checkpoints[at].timestamp;
    int rc = blx_pin_write_locked(removal->agent.store, timestamp, BLX_PIN_OFF, err);
    if (rc == 0)
        rc = blx_tested_remove_locked(removal->agent.store, timestamp, err);
    if (rc == 0)
        rc = blx_suspicion_remove_locked(removal->agent.store, timestamp, err);
    if (rc == 0)
        rc = blx_manifest_path(removal->agent.store, timestamp, path, err);
    if (rc < 0)
        return rc;
    if (blx_sys->unlink(path) != 0)
        return blx_error_errno(err, -errno, "cannot remove '%s'", path);
    return blx_fsync_parent(path, err);
}

int blx_removal_take_volume(struct blx_removal *removal, struct blx_error *err)
{
    char dir[PATH_MAX];
    int rc = blx_agent_store_volume_path(removal->agent.store, removal->request->volume, dir, err);
    for (size_t i = removal->agent.count; rc == 0 && i > 0; i--)
        rc = is_doomed(removal, i - 1) ? unlink_manifest(removal, i - 1, err)
                                       : narrow(removal, i - 1, err);
    return rc == 0 ? blx_directory_remove(dir, err) : rc;
}
