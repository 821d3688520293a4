/* SPDX-License-Identifier: Apache-2.0 */
#include "store/checkpoint/manifest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void blx_manifest_done(struct blx_manifest *manifest)
{
    for (uint32_t i = 0; i < blx_manifest_count_entries(manifest); i++) {
        free(manifest->volumes[i].segments);
        free(manifest->volumes[i].unreadable);
    }
    free(manifest->volumes);
    *manifest = (struct blx_manifest){0};
}

const struct blx_manifest_volume *blx_manifest_find(const struct blx_manifest *manifest,
                                                    const char *volume)
{
    for (uint32_t i = 0; i < blx_manifest_count_entries(manifest); i++)
        if (strcmp(manifest->volumes[i].name, volume) == 0)
            return &manifest->volumes[i];
    return NULL;
}

bool blx_manifest_is_full(const struct blx_manifest *manifest)
{
    for (uint32_t i = 0; i < manifest->volume_count; i++)
        if (!manifest->volumes[i].base)
            return false;
    return true;
}

uint64_t blx_manifest_volume_unreadable_bytes(const struct blx_manifest_volume *volume)
{
    uint64_t blocks = 0;
    for (uint32_t i = 0; i < volume->unreadable_count; i++)
        blocks += volume->unreadable[i].block_count;
    return blocks << volume->block_shift;
}

uint64_t blx_manifest_unreadable_bytes(const struct blx_manifest *manifest)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < manifest->volume_count; i++)
        bytes += blx_manifest_volume_unreadable_bytes(&manifest->volumes[i]);
    return bytes;
}

uint64_t blx_manifest_volume_saved_bytes(const struct blx_manifest_volume *volume)
{
    return volume->changed_bytes > volume->stored_bytes
               ? volume->changed_bytes - volume->stored_bytes
               : 0;
}

/* How far a name may lie from its commit: ahead, where only the bumping of names leads, and before,
 * where a slow line leads while the cut's frames are sent. */
enum { NAME_AHEAD_S = 60, NAME_BEFORE_S = 24 * 60 * 60 };

blx_timestamp blx_manifest_time(const struct blx_manifest *manifest)
{
    if (manifest->timestamp == 0 || manifest->committed_realtime_ns == 0)
        return manifest->timestamp; /* of a checkpoint that cannot be read only the name is known */
    int64_t named = blx_timestamp_to_unix(manifest->timestamp);
    int64_t committed = (int64_t)(manifest->committed_realtime_ns / 1000000000);
    blx_timestamp commit_time = blx_timestamp_from_unix(committed);
    bool contradicts = named > committed + NAME_AHEAD_S || named < committed - NAME_BEFORE_S;
    return contradicts && commit_time != 0 ? commit_time : manifest->timestamp;
}

void blx_manifest_tell(const struct blx_manifest *manifest, struct blx_control_agent *agent)
{
    agent->last_checkpoint = manifest->timestamp;
    agent->last_time = blx_manifest_time(manifest);
    agent->last_consistency = manifest->consistency;
    agent->last_unreadable_bytes = blx_manifest_unreadable_bytes(manifest);
    agent->freeze_ns = manifest->freeze_ns;
    memcpy(agent->note, manifest->note, sizeof(agent->note));
    agent->cut_flags = manifest->cut_flags;
    agent->volume_count = manifest->volume_count;
    agent->volume_bytes = agent->changed_bytes = agent->stored_bytes = agent->saved_bytes = 0;
    for (uint32_t i = 0; i < manifest->volume_count; i++) {
        const struct blx_manifest_volume *volume = &manifest->volumes[i];
        agent->volume_bytes += volume->size_bytes;
        agent->changed_bytes += volume->changed_bytes;
        agent->stored_bytes += volume->stored_bytes;
        agent->saved_bytes += blx_manifest_volume_saved_bytes(volume);
    }
}

static int copy_volume(const struct blx_manifest_volume *from, struct blx_manifest_volume *to)
{
    *to = *from;
    to->segments = calloc(from->segment_count + 1UL, sizeof(to->segments[0]));
    to->unreadable = calloc(from->unreadable_count + 1UL, sizeof(to->unreadable[0]));
    if (to->segments == NULL || to->unreadable == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < from->segment_count; i++)
        to->segments[i] = from->segments[i];
    for (uint32_t i = 0; i < from->unreadable_count; i++)
        to->unreadable[i] = from->unreadable[i];
    return 0;
}

int blx_manifest_copy(const struct blx_manifest *from, struct blx_manifest *to,
                      struct blx_error *err)
{
    struct blx_manifest made = *from;
    made.volume_count = made.carried_count = 0;
    made.volumes = calloc(blx_manifest_count_entries(from) + 1UL, sizeof(made.volumes[0]));
    int rc = made.volumes == NULL ? -ENOMEM : 0;
    for (uint32_t i = 0; rc == 0 && i < blx_manifest_count_entries(from); i++) {
        /* From now on it is freed with the copy. */
        made.volume_count += i < from->volume_count;
        made.carried_count += i >= from->volume_count;
        rc = copy_volume(&from->volumes[i], &made.volumes[i]);
    }
    if (rc < 0) {
        blx_manifest_done(&made);
        return blx_error_errno(err, rc, "cannot copy the checkpoint %llu",
                               (unsigned long long)from->timestamp);
    }
    *to = made;
    return 0;
}

bool blx_manifest_volume_is_named(const struct blx_manifest_volume *volume, const char *device)
{
    bool by_node = strncmp(device, "/dev/", 5) == 0 && strcmp(device + 5, volume->name) == 0;
    return by_node || strcmp(device, volume->name) == 0 || strcmp(device, volume->device) == 0;
}
