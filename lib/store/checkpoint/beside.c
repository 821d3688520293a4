/* SPDX-License-Identifier: Apache-2.0 */
#include "store/checkpoint/beside_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/array.h"
#include "base/io.h"
#include "base/sys.h"
#include "store/directory_private.h"
#include "store/checkpoint/manifest_file.h"

int blx_beside_path(struct blx_agent_store agent, blx_timestamp checkpoint, const char *suffix,
                    char path[PATH_MAX], struct blx_error *err)
{
    char manifest[PATH_MAX];
    int rc = blx_manifest_path(agent, checkpoint, manifest, err);
    return rc == 0 ? blx_path_format(path, PATH_MAX, err, "%s%s", manifest, suffix) : rc;
}

int blx_beside_check(struct blx_agent_store agent, blx_timestamp checkpoint, struct blx_error *err)
{
    char manifest[PATH_MAX];
    struct stat st;
    int rc = blx_manifest_path(agent, checkpoint, manifest, err);
    if (rc == 0 && lstat(manifest, &st) != 0)
        rc = blx_error_errno(err, -errno, "the agent '%s' has no checkpoint %llu", agent.id,
                             (unsigned long long)checkpoint);
    return rc;
}

struct list {
    const char *suffix;
    blx_timestamp *timestamps; /* owned */
    size_t count;
};

static int add(void *arg, const char *name, struct blx_error *err)
{
    struct list *list = arg;
    char digits[BLX_TIMESTAMP_TEXT_BYTES] = "";
    blx_timestamp timestamp;
    if (strlen(name) != BLX_TIMESTAMP_DIGITS + strlen(list->suffix) ||
        strcmp(name + BLX_TIMESTAMP_DIGITS, list->suffix) != 0)
        return 0;
    memcpy(digits, name, BLX_TIMESTAMP_DIGITS);
    if (blx_timestamp_parse(digits, &timestamp, NULL) < 0)
        return 0;
    if (blx_array_make_room(list->timestamps, list->count) < 0)
        return blx_error_errno(err, -ENOMEM, "cannot list the checkpoints");
    list->timestamps[list->count++] = timestamp;
    return 0;
}

int blx_beside_list(struct blx_agent_store agent, const char *suffix, blx_timestamp **timestamps,
                    size_t *count, struct blx_error *err)
{
    char dir[PATH_MAX];
    struct list list = {.suffix = suffix};
    int rc = blx_manifest_dir(agent, dir, err);
    if (rc == 0)
        rc = blx_directory_each(dir, add, &list, err);
    if (rc < 0) {
        free(list.timestamps);
        return rc;
    }
    if (list.count > 0)
        qsort(list.timestamps, list.count, sizeof(list.timestamps[0]), blx_timestamp_compare);
    *timestamps = list.timestamps;
    *count = list.count;
    return 0;
}

int blx_beside_remove(struct blx_agent_store agent, blx_timestamp checkpoint, const char *suffix,
                      struct blx_error *err)
{
    char path[PATH_MAX];
    int rc = blx_beside_path(agent, checkpoint, suffix, path, err);
    if (rc == 0 && blx_sys->unlink(path) != 0 && errno != ENOENT)
        rc = blx_error_errno(err, -errno, "cannot remove '%s'", path);
    return rc;
}
