/* SPDX-License-Identifier: Apache-2.0 */
/* The marks of copies: VOLUME/copied-PLACE, a line "NEXT TIMESTAMP-HASH". */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "store/copy/copy_source.h"
#include "store/layout_private.h"

enum { LINE_BYTES = 128 };

static int name_mark(struct blx_agent_store agent, const char *volume, const char *place,
                     char path[PATH_MAX], struct blx_error *err)
{
    char dir[PATH_MAX];
    int rc = blx_agent_store_volume_path(agent, volume, dir, err);
    return rc < 0 ? rc
                  : blx_path_format(path, PATH_MAX, err, "%s/copied-%016" PRIx64, dir,
                                    blx_layout_checksum_all(place, strlen(place)));
}

int blx_copy_mark_read(struct blx_agent_store agent, const char *volume, const char *place,
                       struct blx_copy_mark *mark, struct blx_error *err)
{
    char path[PATH_MAX], line[LINE_BYTES];
    int rc = name_mark(agent, volume, place, path, err);
    if (rc < 0)
        return rc;
    ssize_t bytes = blx_file_read_small(AT_FDCWD, path, line, sizeof(line));
    if (bytes == -ENOENT)
        return 0;
    if (bytes < 0 && bytes != -EFBIG)
        return blx_error_errno(err, (int)bytes, "cannot read '%s'", path);
    if (bytes <= 0 || line[bytes - 1] != '\n')
        return 0;
    line[bytes - 1] = '\0';
    char *end = NULL;
    errno = 0;
    unsigned long next = strtoul(line, &end, 10);
    if (errno != 0 || next > UINT32_MAX || *end != ' ')
        return 0;
    mark->next = (uint32_t)next;
    return blx_copied_parse_name(end + 1, &mark->timestamp, mark->hash) == 0;
}

int blx_copy_mark_write(struct blx_agent_store agent, const char *volume, const char *place,
                        const struct blx_copy_mark *mark, struct blx_error *err)
{
    char path[PATH_MAX], line[LINE_BYTES], hash[BLX_COPIED_HASH_TEXT];
    char when[BLX_TIMESTAMP_TEXT_BYTES];
    int rc = name_mark(agent, volume, place, path, err);
    if (rc < 0)
        return rc;
    blx_copied_hash_text(mark->hash, hash);
    blx_timestamp_format(mark->timestamp, when);
    int length = snprintf(line, sizeof(line), "%" PRIu32 " %s-%s\n", mark->next, when, hash);
    return blx_file_replace(path, line, (size_t)length, 0600, err);
}
