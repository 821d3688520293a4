/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/wanted.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/disk/freespace.h"
#include "agent/disk/mounts.h"
#include "base/bitmap.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/units.h"

static int exclude_free_space(struct agent *agent, struct agent_volume *volume, uint64_t *wanted,
                              struct blx_error *err)
{
    struct agent_mounts mounts = {0};
    int rc = agent_mounts_find(agent->devices, agent->volume_count, &mounts, err);
    if (rc < 0)
        return rc;
    uint64_t skipped = 0;
    rc = agent_freespace_exclude(&volume->device, &mounts, volume->block_shift, wanted, &skipped,
                                 err);
    agent_mounts_done(&mounts);
    char size[BLX_UNIT_TEXT_BYTES];
    if (rc == 0 && skipped > 0)
        blx_log_info("'%s': %s of free space are skipped", volume->device.path,
                     blx_size_format(skipped << volume->block_shift, size));
    return rc;
}

int agent_find_wanted(struct agent *agent, struct agent_volume *volume, uint64_t **wanted,
                      struct blx_error *err)
{
    size_t bytes = blx_bitmap_words(volume->blocks) * sizeof(uint64_t);
    uint64_t *words = malloc(bytes);
    if (words == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot begin a pass over '%s'", volume->device.path);
    memset(words, 0xff, bytes);
    struct blx_error why = {0};
    /* Not being able to skip free space makes the pass longer, never wrong. */
    if (agent->config->skip_free_space && exclude_free_space(agent, volume, words, &why) < 0) {
        blx_log_warning("'%s': free space is not skipped: %s", volume->device.path, why.message);
        memset(words, 0xff, bytes);
    }
    *wanted = words;
    return 0;
}

int agent_mark_wanted(struct agent *agent, struct agent_volume *volume, const char *reason,
                      struct blx_error *err)
{
    BLX_CLEANUP_FREE uint64_t *wanted = NULL;
    int rc = agent_find_wanted(agent, volume, &wanted, err);
    if (rc == 0)
        agent_volume_mark_all(volume, wanted, reason);
    return rc;
}
