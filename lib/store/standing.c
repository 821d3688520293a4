/* SPDX-License-Identifier: Apache-2.0 */
#include "store/standing_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"

static const blx_timestamp unknown_time = 19700101000000;

static int standing_path(struct blx_agent_store agent, const char *name, char path[PATH_MAX],
                         struct blx_error *err)
{
    char dir[PATH_MAX];
    int rc = blx_agent_store_path(agent, dir, err);
    return rc < 0 ? rc : blx_path_format(path, PATH_MAX, err, "%s/%s", dir, name);
}

int blx_standing_begin(struct blx_agent_store agent, const char *name, blx_timestamp since,
                       struct blx_error *err)
{
    char path[PATH_MAX], text[BLX_TIMESTAMP_TEXT_BYTES + 1];
    blx_timestamp standing;
    int rc = blx_standing_look(agent, name, &standing, err);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    rc = standing_path(agent, name, path, err);
    if (rc < 0)
        return rc;
    blx_timestamp_format(since, text);
    strcat(text, "\n");
    /* Readable for a dispatcher of another user, as an order to rescan is. */
    return blx_file_replace(path, text, strlen(text), 0644, err);
}

int blx_standing_end(struct blx_agent_store agent, const char *name, struct blx_error *err)
{
    char path[PATH_MAX];
    int rc = standing_path(agent, name, path, err);
    if (rc < 0)
        return rc;
    if (blx_sys->unlink(path) < 0 && errno != ENOENT)
        return blx_error_errno(err, -errno, "cannot remove '%s'", path);
    return blx_fsync_parent(path, err);
}

int blx_standing_look(struct blx_agent_store agent, const char *name, blx_timestamp *since,
                      struct blx_error *err)
{
    char path[PATH_MAX], text[BLX_TIMESTAMP_TEXT_BYTES] = "";
    BLX_CLEANUP_FREE void *content = NULL;
    size_t bytes = 0;
    struct blx_error why = {0};
    blx_timestamp found = unknown_time;
    int rc = standing_path(agent, name, path, err);
    if (rc < 0)
        return rc;
    rc = blx_file_read(path, BLX_TIMESTAMP_TEXT_BYTES, &content, &bytes, &why);
    if (rc == -ENOENT) {
        *since = 0;
        return 0;
    }
    if (rc < 0 && rc != -EFBIG)
        return blx_error_copy(err, rc, &why);
    if (rc == 0)
        snprintf(text, sizeof(text), "%.*s", (int)bytes, (const char *)content);
    if (blx_timestamp_parse(text, &found, NULL) < 0)
        found = unknown_time;
    *since = found;
    return 1;
}
