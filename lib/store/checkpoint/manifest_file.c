/* SPDX-License-Identifier: Apache-2.0 */
#include "store/checkpoint/manifest_file_private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "store/checkpoint/manifest_codec_private.h"

int blx_manifest_dir(struct blx_agent_store agent, char path[PATH_MAX], struct blx_error *err)
{
    char dir[PATH_MAX];
    int rc = blx_agent_store_path(agent, dir, err);
    if (rc < 0)
        return rc;
    return blx_path_format(path, PATH_MAX, err, "%s/checkpoints", dir);
}

int blx_manifest_path(struct blx_agent_store agent, blx_timestamp timestamp, char path[PATH_MAX],
                      struct blx_error *err)
{
    char dir[PATH_MAX], text[BLX_TIMESTAMP_TEXT_BYTES];
    int rc = blx_manifest_dir(agent, dir, err);
    if (rc < 0)
        return rc;
    blx_timestamp_format(timestamp, text);
    return blx_path_format(path, PATH_MAX, err, "%s/%s", dir, text);
}

static int write_manifest(struct blx_agent_store agent, const struct blx_manifest *manifest,
                          bool replace, struct blx_error *err)
{
    char path[PATH_MAX];
    struct stat st;
    int rc = blx_manifest_path(agent, manifest->timestamp, path, err);
    if (rc < 0)
        return rc;
    BLX_CLEANUP_FREE void *content = NULL;
    size_t bytes;
    rc = blx_manifest_encode(manifest, &content, &bytes, err);
    if (rc < 0)
        return rc;
    if (!replace && lstat(path, &st) == 0)
        return blx_error_set(err, -EEXIST, "the checkpoint '%s' exists already", path);
    return blx_file_replace(path, content, bytes, 0600, err);
}

int blx_manifest_write(struct blx_agent_store agent, const struct blx_manifest *manifest,
                       struct blx_error *err)
{
    return write_manifest(agent, manifest, false, err);
}

int blx_manifest_replace(struct blx_agent_store agent, const struct blx_manifest *manifest,
                         struct blx_error *err)
{
    return write_manifest(agent, manifest, true, err);
}

int blx_manifest_read(struct blx_agent_store agent, blx_timestamp timestamp,
                      struct blx_manifest *manifest, struct blx_error *err)
{
    struct blx_manifest_folder folder;
    struct blx_error cause = {0};
    int rc = blx_manifest_folder_open(agent, &folder, &cause);
    if (rc == 0) {
        rc = blx_manifest_read_in(&folder, timestamp, manifest, &cause);
        close(folder.fd);
    }
    if (rc == -ENOENT)
        return blx_error_set(err, rc, "the agent '%s' has no checkpoint %llu", agent.id,
                             (unsigned long long)timestamp);
    return rc < 0 ? blx_error_copy(err, rc, &cause) : 0;
}

static int decode_as(void *content, size_t bytes, const struct blx_manifest_folder *folder,
                     blx_timestamp timestamp, struct blx_manifest *manifest, struct blx_error *err)
{
    struct blx_error cause = {0};
    struct blx_manifest decoded;
    int rc = blx_manifest_decode(content, bytes, &decoded, &cause);
    if (rc == 0 && decoded.timestamp != timestamp) {
        blx_manifest_done(&decoded);
        rc = blx_error_set(&cause, -EBADMSG, "its name is not its timestamp");
    }
    if (rc < 0)
        return blx_error_set(err, rc, "cannot use the checkpoint '%s/%llu': %s", folder->path,
                             (unsigned long long)timestamp, cause.message);
    *manifest = decoded;
    return 0;
}

int blx_manifest_read_in(const struct blx_manifest_folder *folder, blx_timestamp timestamp,
                         struct blx_manifest *manifest, struct blx_error *err)
{
    enum { SMALL_BYTES = 4096 };
    _Alignas(8) char small[SMALL_BYTES];
    char path[PATH_MAX], name[BLX_TIMESTAMP_TEXT_BYTES];
    blx_timestamp_format(timestamp, name);
    ssize_t got = blx_file_read_small(folder->fd, name, small, sizeof(small));
    if (got >= 0)
        return decode_as(small, (size_t)got, folder, timestamp, manifest, err);
    if (got != -EFBIG)
        return blx_error_errno(err, (int)got, "cannot read '%s/%s'", folder->path, name);
    BLX_CLEANUP_FREE void *content = NULL;
    size_t bytes;
    int rc = blx_path_format(path, sizeof(path), err, "%s/%s", folder->path, name);
    if (rc == 0)
        rc = blx_file_read(path, BLX_MANIFEST_MAX_BYTES, &content, &bytes, err);
    return rc < 0 ? rc : decode_as(content, bytes, folder, timestamp, manifest, err);
}

int blx_manifest_folder_open(struct blx_agent_store agent, struct blx_manifest_folder *folder,
                             struct blx_error *err)
{
    int rc = blx_manifest_dir(agent, folder->path, err);
    if (rc < 0)
        return rc;
    folder->fd = blx_open(folder->path, O_PATH | O_DIRECTORY, 0, err);
    return folder->fd < 0 ? folder->fd : 0;
}
