/* SPDX-License-Identifier: Apache-2.0 */
#include "store/checkpoint/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "store/checkpoint/manifest_codec_private.h"

void blx_manifest_done(struct blx_manifest *manifest)
{
    for (uint32_t i = 0; i < manifest->volume_count; i++) {
        free(manifest->volumes[i].segments);
        free(manifest->volumes[i].unreadable);
    }
    free(manifest->volumes);
    *manifest = (struct blx_manifest){0};
}

const struct blx_manifest_volume *blx_manifest_find(const struct blx_manifest *manifest,
                                                    const char *volume)
{
    for (uint32_t i = 0; i < manifest->volume_count; i++)
        if (strcmp(manifest->volumes[i].name, volume) == 0)
            return &manifest->volumes[i];
    return NULL;
}

bool blx_manifest_is_full(const struct blx_manifest *manifest)
{
    for (uint32_t i = 0; i < manifest->volume_count; i++)
        if (!manifest->volumes[i].base)
            return false;
    return true;
}

uint64_t blx_manifest_volume_unreadable_bytes(const struct blx_manifest_volume *volume)
{
    uint64_t blocks = 0;
    for (uint32_t i = 0; i < volume->unreadable_count; i++)
        blocks += volume->unreadable[i].block_count;
    return blocks << volume->block_shift;
}

uint64_t blx_manifest_unreadable_bytes(const struct blx_manifest *manifest)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < manifest->volume_count; i++)
        bytes += blx_manifest_volume_unreadable_bytes(&manifest->volumes[i]);
    return bytes;
}

int blx_manifest_dir(const struct blx_store *store, const char *agent_id, char path[PATH_MAX],
                     struct blx_error *err)
{
    char agent[PATH_MAX];
    int rc = blx_store_agent_path(store, agent_id, agent, err);
    if (rc < 0)
        return rc;
    return blx_path_format(path, PATH_MAX, err, "%s/checkpoints", agent);
}

int blx_manifest_path(const struct blx_store *store, const char *agent_id, blx_timestamp timestamp,
                      char path[PATH_MAX], struct blx_error *err)
{
    char dir[PATH_MAX], text[BLX_TIMESTAMP_TEXT_BYTES];
    int rc = blx_manifest_dir(store, agent_id, dir, err);
    if (rc < 0)
        return rc;
    blx_timestamp_format(timestamp, text);
    return blx_path_format(path, PATH_MAX, err, "%s/%s", dir, text);
}

uint64_t blx_manifest_volume_saved_bytes(const struct blx_manifest_volume *volume)
{
    return volume->changed_bytes > volume->stored_bytes
               ? volume->changed_bytes - volume->stored_bytes
               : 0;
}

void blx_manifest_tell(const struct blx_manifest *manifest, struct blx_control_agent *agent)
{
    agent->last_checkpoint = manifest->timestamp;
    agent->last_consistency = manifest->consistency;
    agent->last_unreadable_bytes = blx_manifest_unreadable_bytes(manifest);
    agent->freeze_ns = manifest->freeze_ns;
    memcpy(agent->note, manifest->note, sizeof(agent->note));
    agent->volume_count = manifest->volume_count;
    agent->volume_bytes = agent->changed_bytes = agent->stored_bytes = agent->saved_bytes = 0;
    for (uint32_t i = 0; i < manifest->volume_count; i++) {
        const struct blx_manifest_volume *volume = &manifest->volumes[i];
        agent->volume_bytes += volume->size_bytes;
        agent->changed_bytes += volume->changed_bytes;
        agent->stored_bytes += volume->stored_bytes;
        agent->saved_bytes += blx_manifest_volume_saved_bytes(volume);
    }
}

static int copy_volume(const struct blx_manifest_volume *from, struct blx_manifest_volume *to)
{
    *to = *from;
    to->segments = calloc(from->segment_count + 1UL, sizeof(to->segments[0]));
    to->unreadable = calloc(from->unreadable_count + 1UL, sizeof(to->unreadable[0]));
    if (to->segments == NULL || to->unreadable == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < from->segment_count; i++)
        to->segments[i] = from->segments[i];
    for (uint32_t i = 0; i < from->unreadable_count; i++)
        to->unreadable[i] = from->unreadable[i];
    return 0;
}

int blx_manifest_copy(const struct blx_manifest *from, struct blx_manifest *to,
                      struct blx_error *err)
{
    struct blx_manifest made = *from;
    made.volume_count = 0;
    made.volumes = calloc(from->volume_count + 1UL, sizeof(made.volumes[0]));
    int rc = made.volumes == NULL ? -ENOMEM : 0;
    for (uint32_t i = 0; rc == 0 && i < from->volume_count; i++) {
        made.volume_count++; /* what it has by now is freed with the copy */
        rc = copy_volume(&from->volumes[i], &made.volumes[i]);
    }
    if (rc < 0) {
        blx_manifest_done(&made);
        return blx_error_errno(err, rc, "cannot copy the checkpoint %llu",
                               (unsigned long long)from->timestamp);
    }
    *to = made;
    return 0;
}

static int write_manifest(const struct blx_store *store, const char *agent_id,
                          const struct blx_manifest *manifest, bool replace, struct blx_error *err)
{
    char path[PATH_MAX];
    struct stat st;
    int rc = blx_manifest_path(store, agent_id, manifest->timestamp, path, err);
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

int blx_manifest_write(const struct blx_store *store, const char *agent_id,
                       const struct blx_manifest *manifest, struct blx_error *err)
{
    return write_manifest(store, agent_id, manifest, false, err);
}

int blx_manifest_replace(const struct blx_store *store, const char *agent_id,
                         const struct blx_manifest *manifest, struct blx_error *err)
{
    return write_manifest(store, agent_id, manifest, true, err);
}

int blx_manifest_read(const struct blx_store *store, const char *agent_id, blx_timestamp timestamp,
                      struct blx_manifest *manifest, struct blx_error *err)
{
    struct blx_manifest_folder folder;
    struct blx_error cause = {0};
    int rc = blx_manifest_folder_open(store, agent_id, &folder, &cause);
    if (rc == 0) {
        rc = blx_manifest_read_in(&folder, timestamp, manifest, &cause);
        close(folder.fd);
    }
    if (rc == -ENOENT)
        return blx_error_set(err, rc, "the agent '%s' has no checkpoint %llu", agent_id,
                             (unsigned long long)timestamp);
    return rc < 0 ? blx_error_set(err, rc, "%s", cause.message) : 0;
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

int blx_manifest_folder_open(const struct blx_store *store, const char *agent_id,
                             struct blx_manifest_folder *folder, struct blx_error *err)
{
    int rc = blx_manifest_dir(store, agent_id, folder->path, err);
    if (rc < 0)
        return rc;
    folder->fd = blx_open(folder->path, O_PATH | O_DIRECTORY, 0, err);
    return folder->fd < 0 ? folder->fd : 0;
}
