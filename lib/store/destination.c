/* SPDX-License-Identifier: Apache-2.0 */
#include "store/destination.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "base/text.h"

static int file_path(struct blx_agent_store agent, char path[PATH_MAX], struct blx_error *err)
{
    char dir[PATH_MAX];
    int rc = blx_agent_store_path(agent, dir, err);
    return rc < 0 ? rc : blx_path_format(path, PATH_MAX, err, "%s/dispatcher", dir);
}

int blx_destination_set(struct blx_agent_store agent, const char *host, struct blx_error *err)
{
    char path[PATH_MAX], line[BLX_NAME_BYTES + 1];
    int rc = file_path(agent, path, err);
    if (rc == 0 && host != NULL)
        rc = blx_name_check("name of a dispatcher", host, err);
    if (rc < 0)
        return rc;
    if (host != NULL) {
        int bytes = snprintf(line, sizeof(line), "%s\n", host);
        /* Readable for a dispatcher that runs as another user; the folder is private. */
        return blx_file_replace(path, line, (size_t)bytes, 0644, err);
    }
    if (blx_sys->unlink(path) < 0)
        return errno == ENOENT ? 0 : blx_error_errno(err, -errno, "cannot remove '%s'", path);
    return blx_fsync_parent(path, err);
}

int blx_destination_look(struct blx_agent_store agent, char host[BLX_NAME_BYTES],
                         struct blx_error *err)
{
    char path[PATH_MAX];
    BLX_CLEANUP_FREE void *content = NULL;
    size_t bytes = 0;
    struct blx_error why = {0};
    host[0] = '\0';
    int rc = file_path(agent, path, err);
    if (rc < 0)
        return rc;
    rc = blx_file_read(path, BLX_NAME_BYTES, &content, &bytes, &why);
    if (rc == -ENOENT || rc == -EFBIG)
        return 0;
    if (rc < 0)
        return blx_error_copy(err, rc, &why);
    char *text = content;
    text[strcspn(text, "\n")] = '\0';
    if (blx_name_check("name of a dispatcher", text, NULL) < 0)
        return 0;
    blx_text_copy(host, BLX_NAME_BYTES, text);
    return 1;
}
