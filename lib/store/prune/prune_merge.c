/* SPDX-License-Identifier: Apache-2.0 */
/* Makes a manifest that takes over the segments it needs from the checkpoints before it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/checkpoint/needed_private.h"
#include "store/prune/prune_agent_private.h"

static int no_memory(const struct blx_prune_agent *agent, struct blx_error *err)
{
    return blx_error_errno(err, -ENOMEM, "cannot prune the agent '%s'", agent->store.id);
}

/* The older segments come first. */
static int prepend(struct blx_manifest_volume *volume, const struct blx_manifest_volume *older)
{
    size_t own = volume->segment_count, more = older->segment_count;
    uint32_t *all = calloc(own + more + 1, sizeof(all[0]));
    if (all == NULL || own + more > UINT32_MAX) {
        free(all);
        return -ENOMEM;
    }
    for (size_t i = 0; i < more; i++)
        all[i] = older->segments[i];
    for (size_t i = 0; i < own; i++)
        all[more + i] = volume->segments[i];
    free(volume->segments);
    volume->segments = all;
    volume->segment_count = (uint32_t)(own + more);
    volume->base = older->base;
    volume->clearing = true;
    return 0;
}

static int broken(const struct blx_manifest *manifest, const char *volume, blx_timestamp parent,
                  struct blx_error *err)
{
    return blx_error_set(err, -EBADMSG,
                         "the chain of the checkpoint %llu is broken: the volume '%s' does not go "
                         "on from %llu; `blxrep dispatcher verify` says more",
                         (unsigned long long)manifest->timestamp, volume,
                         (unsigned long long)parent);
}

static int take_over(const struct blx_prune_agent *agent, struct blx_manifest *merged,
                     const struct blx_manifest *ancestor, struct blx_error *err)
{
    for (uint32_t i = 0; i < blx_manifest_count_entries(merged); i++) {
        struct blx_manifest_volume *volume = &merged->volumes[i];
        if (volume->base)
            continue;
        const struct blx_manifest_volume *older = blx_manifest_find(ancestor, volume->name);
        if (older == NULL || older->size_bytes > volume->size_bytes ||
            older->block_shift != volume->block_shift ||
            !blx_key_id_equal(&older->key_id, &volume->key_id))
            return broken(merged, volume->name, ancestor->timestamp, err);
        if (prepend(volume, older) < 0)
            return no_memory(agent, err);
    }
    merged->parent = ancestor->parent;
    return 0;
}

/* The needed segments, newest first, and the bytes of their needed frames. */
struct selection {
    uint32_t *numbers;
    uint32_t count;
    uint64_t bytes;
};

static int select_segment(void *arg, const struct blx_needed_segment *segment,
                          struct blx_error *err)
{
    struct selection *selection = arg;
    (void)err;
    if (segment->frame_count > 0)
        selection->numbers[selection->count++] = segment->number;
    selection->bytes += segment->bytes;
    return 0;
}

/* Leaves out the segments of which nothing is needed, and says the new sizes. */
static int settle_volume(const struct blx_prune_agent *agent, struct blx_manifest_volume *volume,
                         struct blx_error *err)
{
    char dir[PATH_MAX];
    uint64_t blocks;
    struct selection selection = {0};
    int rc = blx_agent_store_volume_path(agent->store, volume->name, dir, err);
    if (rc < 0)
        return rc;
    BLX_CLEANUP_FREE uint32_t *numbers =
        calloc(volume->segment_count + 1UL, sizeof(selection.numbers[0]));
    if (numbers == NULL)
        return no_memory(agent, err);
    selection.numbers = numbers;
    rc = blx_needed_find(dir, volume, select_segment, &selection, &blocks, err);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < selection.count; i++)
        volume->segments[i] = numbers[selection.count - 1 - i];
    volume->segment_count = selection.count;
    volume->changed_bytes = blocks << volume->block_shift;
    volume->stored_bytes = selection.bytes;
    return 0;
}

int blx_prune_merge(const struct blx_prune_agent *agent, size_t keeper, size_t count,
                    struct blx_manifest *merged, struct blx_error *err)
{
    BLX_CLEANUP_MANIFEST struct blx_manifest made = {0};
    /* Unreadable extents belong to their checkpoint alone: those of the removed ones go with them.
     */
    int rc = blx_manifest_copy(&agent->checkpoints[keeper].manifest, &made, err);
    size_t at = agent->checkpoints[keeper].parent;
    for (size_t i = 0; rc == 0 && i < count; i++, at = agent->checkpoints[at].parent)
        rc = take_over(agent, &made, &agent->checkpoints[at].manifest, err);
    for (uint32_t i = 0; rc == 0 && i < blx_manifest_count_entries(&made); i++)
        if (made.volumes[i].clearing)
            rc = settle_volume(agent, &made.volumes[i], err);
    if (rc < 0)
        return rc;
    *merged = made;
    made = (struct blx_manifest){0};
    return 0;
}
