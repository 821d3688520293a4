/* SPDX-License-Identifier: Apache-2.0 */
#include "store/checkpoint/missing.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/checkpoint/manifest_file.h"
#include "store/damage_private.h"

static const char mark[] = "without '";

void blx_missing_list(const struct blx_manifest *manifest, struct blx_missing *missing)
{
    missing->count = 0;
    const char *at = manifest->note;
    while (missing->count < BLX_MAX_VOLUMES && (at = strstr(at, mark)) != NULL) {
        at += strlen(mark);
        size_t length = strcspn(at, "'");
        char *device = missing->devices[missing->count++];
        memcpy(device, at, length);
        device[length] = '\0';
        at += length;
    }
}

static bool has_device(const struct blx_manifest *manifest, const char *device)
{
    for (uint32_t i = 0; i < manifest->volume_count; i++)
        if (strcmp(manifest->volumes[i].device, device) == 0)
            return true;
    return false;
}

int blx_missing_find(struct blx_agent_store agent, const char *device, blx_timestamp *checkpoint,
                     struct blx_error *err)
{
    BLX_CLEANUP_FREE blx_timestamp *all = NULL;
    blx_timestamp found = 0;
    size_t count = 0;
    int rc = blx_manifest_list(agent, 0, UINT64_MAX, &all, &count, err);
    while (rc == 0 && found == 0 && count > 0) {
        BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
        struct blx_error cause = {0};
        rc = blx_manifest_read(agent, all[--count], &manifest, &cause);
        if (rc == 0 && has_device(&manifest, device))
            found = all[count];
        if (blx_is_bad_content(rc) || rc == -ENOENT || rc == -ENOTSUP)
            rc = 0;
        else if (rc < 0)
            return blx_error_copy(err, rc, &cause);
    }
    if (rc == 0)
        *checkpoint = found;
    return rc;
}
