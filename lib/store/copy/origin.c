/* SPDX-License-Identifier: Apache-2.0 */
#include "store/copy/origin.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/sys.h"
#include "base/text.h"
#include "store/checkpoint/manifest_file.h"
#include "store/layout_private.h"

enum { LINE_BYTES = BLX_TEXT_BYTES + 96 };

static int path_of(struct blx_agent_store agent, char path[PATH_MAX], struct blx_error *err)
{
    char dir[PATH_MAX];
    int rc = blx_agent_store_path(agent, dir, err);
    return rc < 0 ? rc : blx_path_format(path, PATH_MAX, err, "%s/source", dir);
}

/* `line` has no line feed any more. */
static bool parse(const char *line, struct blx_origin *origin)
{
    char when[BLX_TIMESTAMP_TEXT_BYTES];
    int end = 0;
    struct blx_origin read = {.newest = 0};
    if (sscanf(line, "blxrep source 1 %14[0-9] %" SCNu64 " %n", when, &read.looked_s, &end) != 2 ||
        end == 0 || strlen(line + end) >= sizeof(read.address) || line[end] == '\0')
        return false;
    blx_text_set(read.address, line + end);
    if (strspn(when, "0") < strlen(when) && blx_timestamp_parse(when, &read.newest, NULL) < 0)
        return false;
    if (!blx_layout_text_ok(read.address, sizeof(read.address)))
        return false;
    *origin = read;
    return true;
}

int blx_origin_read(struct blx_agent_store agent, struct blx_origin *origin, struct blx_error *err)
{
    char path[PATH_MAX], line[LINE_BYTES];
    int rc = path_of(agent, path, err);
    if (rc < 0)
        return rc;
    ssize_t bytes = blx_file_read_small(AT_FDCWD, path, line, sizeof(line));
    if (bytes == -ENOENT)
        return 0;
    if (bytes < 0 && bytes != -EFBIG)
        return blx_error_errno(err, (int)bytes, "cannot read '%s'", path);
    if (bytes > 0 && line[bytes - 1] == '\n') {
        line[bytes - 1] = '\0';
        if (parse(line, origin))
            return 1;
    }
    return blx_error_set(err, -EBADMSG,
                         "'%s' does not say of which dispatcher the agent is a copy: remove it if "
                         "the agent reports here, or else remove the agent and copy it again",
                         path);
}

int blx_origin_write(struct blx_agent_store agent, const struct blx_origin *origin,
                     struct blx_error *err)
{
    char path[PATH_MAX], line[LINE_BYTES];
    int rc = path_of(agent, path, err);
    if (rc < 0)
        return rc;
    int length = snprintf(line, sizeof(line), "blxrep source 1 %014" PRIu64 " %" PRIu64 " %.255s\n",
                          origin->newest, origin->looked_s, origin->address);
    return blx_file_replace(path, line, (size_t)length, 0600, err);
}

int blx_origin_remove(struct blx_agent_store agent, struct blx_error *err)
{
    char path[PATH_MAX];
    int rc = path_of(agent, path, err);
    if (rc < 0)
        return rc;
    if (blx_sys->unlink(path) != 0 && errno != ENOENT)
        return blx_error_errno(err, -errno, "cannot remove '%s'", path);
    return blx_fsync_parent(path, err);
}

int blx_origin_look(struct blx_agent_store agent, struct blx_origin *origin, struct blx_error *err)
{
    blx_timestamp newest = 0;
    int rc = blx_origin_read(agent, origin, err);
    if (rc != 1)
        return rc;
    rc = blx_manifest_latest(agent, &newest, err);
    return rc < 0 ? rc : newest <= origin->newest;
}
