/* SPDX-License-Identifier: Apache-2.0 */
#include "store/rescan_order.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "store/layout_private.h"

static int order_path(struct blx_agent_store agent, char path[PATH_MAX], struct blx_error *err)
{
    char dir[PATH_MAX];
    int rc = blx_agent_store_path(agent, dir, err);
    return rc < 0 ? rc : blx_path_format(path, PATH_MAX, err, "%s/rescan", dir);
}

int blx_rescan_order_give(struct blx_agent_store agent, const char *reason, struct blx_error *err)
{
    char path[PATH_MAX], standing[BLX_TEXT_BYTES];
    int rc = blx_rescan_order_look(agent, standing, err);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    rc = order_path(agent, path, err);
    if (rc < 0)
        return rc;
    /* Readable for a dispatcher that runs as another user; the folder is private. */
    return blx_file_replace(path, reason, strnlen(reason, BLX_TEXT_BYTES - 1), 0644, err);
}

int blx_rescan_order_look(struct blx_agent_store agent, char reason[BLX_TEXT_BYTES],
                          struct blx_error *err)
{
    char path[PATH_MAX];
    BLX_CLEANUP_FREE void *content = NULL;
    size_t bytes = 0;
    struct blx_error why = {0};
    int rc = order_path(agent, path, err);
    if (rc < 0)
        return rc;
    rc = blx_file_read(path, BLX_TEXT_BYTES - 1, &content, &bytes, &why);
    if (rc == -ENOENT)
        return 0;
    if (rc < 0 && rc != -EFBIG)
        return blx_error_copy(err, rc, &why);
    /* Whatever it says, it is an order. */
    memset(reason, 0, BLX_TEXT_BYTES);
    if (rc == 0)
        memcpy(reason, content, bytes);
    reason[strcspn(reason, "\n")] = '\0';
    if (reason[0] == '\0' || !blx_layout_text_ok(reason, BLX_TEXT_BYTES))
        memcpy(reason, "it was ordered", sizeof("it was ordered"));
    return 1;
}

int blx_rescan_order_done(struct blx_agent_store agent, struct blx_error *err)
{
    char path[PATH_MAX];
    int rc = order_path(agent, path, err);
    if (rc < 0)
        return rc;
    if (blx_sys->unlink(path) < 0 && errno != ENOENT)
        return blx_error_errno(err, -errno, "cannot remove '%s'", path);
    return 0;
}
