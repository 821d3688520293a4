/* SPDX-License-Identifier: Apache-2.0 */
#include "store/view/info.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "store/checkpoint/manifest_file.h"
#include "store/checkpoint/needed_private.h"
#include "store/damage_private.h"
#include "store/view/plan_private.h"

enum { MAX_ENTRIES = 1 << 20 }; /* of the chain's index at a time */

/* Window by window, as a restore does it. `losses` takes what the checkpoint lacks; NULL: that is
 * nothing. */
static int count_used(struct blx_agent_store agent, blx_timestamp checkpoint, const char *volume,
                      struct blx_losses *losses, uint64_t *used_bytes, struct blx_error *err)
{
    uint64_t start_block = 0, used = 0;
    int rc = 0;
    do {
        BLX_CLEANUP(blx_plan_done)
        struct blx_plan plan = {
            .max_entries = MAX_ENTRIES, .start_block = start_block, .losses = losses};
        rc = blx_plan_make(agent, checkpoint, volume, &plan, err);
        used += plan.data_bytes;
        start_block = plan.end_block;
    } while (rc == 0 && start_block != 0);
    if (rc == 0)
        *used_bytes = used;
    return rc;
}

static int count_chain(struct blx_agent_store agent, const struct blx_manifest *manifest,
                       const char *volume, size_t *length, struct blx_error *err)
{
    BLX_CLEANUP_MANIFEST struct blx_manifest at = {0};
    const struct blx_manifest *current = manifest;
    for (*length = 1;; (*length)++) {
        const struct blx_manifest_volume *found = blx_manifest_find(current, volume);
        blx_timestamp parent = current->parent;
        if (found == NULL || (!found->base && parent == 0))
            return blx_error_set(err, -EBADMSG, "the chain of the checkpoint %llu is broken",
                                 (unsigned long long)manifest->timestamp);
        if (found->base)
            return 0;
        blx_manifest_done(&at);
        at = (struct blx_manifest){0};
        int rc = blx_manifest_read(agent, parent, &at, err);
        if (rc < 0)
            return blx_missing_is_damage(rc);
        current = &at;
    }
}

static uint64_t count_disk(const char *dir, const struct blx_manifest_volume *volume)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < volume->segment_count; i++) {
        char path[PATH_MAX];
        struct stat st;
        if (blx_segment_path(dir, volume->segments[i], path, NULL) == 0 && stat(path, &st) == 0)
            bytes += (uint64_t)st.st_blocks * 512;
    }
    return bytes;
}

/* The next checkpoint that has the volume; without volumes if there is none. */
static int find_successor(struct blx_agent_store agent, blx_timestamp checkpoint,
                          const char *volume, struct blx_manifest *successor, struct blx_error *err)
{
    BLX_CLEANUP_FREE blx_timestamp *all = NULL;
    size_t count = 0;
    int rc = blx_manifest_list(agent, checkpoint + 1, UINT64_MAX, &all, &count, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = blx_manifest_read(agent, all[i], successor, err);
        if (rc < 0 || blx_manifest_find(successor, volume) != NULL)
            return rc;
        blx_manifest_done(successor);
        *successor = (struct blx_manifest){0};
    }
    return rc;
}

/* What the successor would need of the checkpoint's segments. */
struct share {
    uint32_t last_segment; /* of the checkpoint */
    uint64_t bytes;
};

static int add_share(void *arg, const struct blx_needed_segment *segment, struct blx_error *err)
{
    struct share *share = arg;
    (void)err;
    if (segment->number <= share->last_segment)
        share->bytes += segment->bytes;
    return 0;
}

static int count_frees(const char *dir, const struct blx_manifest_volume *volume,
                       const struct blx_manifest_volume *successor, uint64_t *frees_bytes,
                       struct blx_error *err)
{
    uint32_t own = volume->segment_count, more = successor->segment_count;
    struct share share = {.last_segment = own > 0 ? volume->segments[own - 1] : 0};
    if (!successor->base && own > 0) {
        BLX_CLEANUP_FREE uint32_t *segments = calloc((size_t)own + more, sizeof(segments[0]));
        if (segments == NULL)
            return blx_error_errno(err, -ENOMEM, "cannot tell what a checkpoint takes");
        for (uint32_t i = 0; i < own; i++)
            segments[i] = volume->segments[i];
        for (uint32_t i = 0; i < more; i++)
            segments[own + i] = successor->segments[i];
        struct blx_manifest_volume merged = *successor;
        merged.segments = segments;
        merged.segment_count = own + more;
        int rc = blx_needed_find(dir, &merged, add_share, &share, NULL, err);
        if (rc < 0)
            return rc;
    }
    *frees_bytes = volume->stored_bytes > share.bytes ? volume->stored_bytes - share.bytes : 0;
    return 0;
}

int blx_info_read(struct blx_agent_store agent, const struct blx_manifest *manifest,
                  const struct blx_manifest_volume *volume, struct blx_info *info,
                  struct blx_error *err)
{
    char dir[PATH_MAX];
    struct blx_info made = {0};
    BLX_CLEANUP_MANIFEST struct blx_manifest successor = {0};
    BLX_CLEANUP(blx_losses_done) struct blx_losses losses = {0};
    /* As a reader does: no prune takes the chain or its segments away meanwhile. */
    BLX_CLEANUP(blx_agent_lock_close) struct blx_agent_lock lock = {.fd = -1};
    int rc = blx_agent_lock_begin(agent, manifest->timestamp, &lock, err);
    if (rc == 0)
        rc = blx_agent_store_volume_path(agent, volume->name, dir, err);
    if (rc == 0)
        rc = count_chain(agent, manifest, volume->name, &made.chain_length, err);
    if (rc == 0)
        rc = count_used(agent, manifest->timestamp, volume->name,
                        volume->unreadable_count > 0 ? &losses : NULL, &made.used_bytes, err);
    if (rc == 0)
        rc = find_successor(agent, manifest->timestamp, volume->name, &successor, err);
    if (rc < 0)
        return rc;
    const struct blx_manifest_volume *next = blx_manifest_find(&successor, volume->name);
    made.disk_bytes = count_disk(dir, volume);
    made.removable = next != NULL;
    if (made.removable)
        rc = count_frees(dir, volume, next, &made.frees_bytes, err);
    if (rc == 0)
        *info = made;
    return rc;
}
