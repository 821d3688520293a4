/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep restore`: writes a checkpoint's volumes to images or to a device. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/progress.h"
#include "cli/command.h"
#include "store/checkpoint/manifest_file.h"
#include "store/checkpoint/missing.h"
#include "store/restore/restore.h"

struct job {
    const struct blx_config *config;
    struct blx_store store;
    struct blx_manifest manifest;
    bool into_folder; /* --output is a directory */
    struct blx_keyring keys;
    char *paths; /* owned: PATH_MAX bytes for each volume; "": it is not restored */
};

static void job_done(struct job *job)
{
    blx_store_close(&job->store);
    blx_manifest_done(&job->manifest);
    blx_keyring_done(&job->keys);
    free(job->paths);
}

static char *target_path(const struct job *job, uint32_t volume)
{
    return job->paths + (size_t)volume * PATH_MAX;
}

/* --device may give a volume's name, the device as the agent named it, or /dev/NAME. */
static bool is_named(const struct blx_manifest_volume *volume, const char *device)
{
    bool by_node = strncmp(device, "/dev/", 5) == 0 && strcmp(device + 5, volume->name) == 0;
    return by_node || strcmp(device, volume->name) == 0 || strcmp(device, volume->device) == 0;
}

/* "'/dev/sdb' (the newest with it: 20261122203600)" */
static int describe_missing(const struct job *job, const char *device, char *text, size_t bytes,
                            struct blx_error *err)
{
    blx_timestamp newest = 0;
    int rc =
        blx_missing_find(blx_store_agent(&job->store, job->config->agent), device, &newest, err);
    if (rc == 0 && newest != 0)
        snprintf(text, bytes, "'%s' (the newest with it: %" PRIu64 ")", device, newest);
    else if (rc == 0)
        snprintf(text, bytes, "'%s' (no checkpoint has it)", device);
    return rc;
}

/* A disk that is not there is not missed in the images of the others, so nobody is to find out by
 * themselves. */
static int refuse_incomplete(const struct job *job, const struct blx_missing *missing,
                             struct blx_error *err)
{
    char list[BLX_ERROR_MESSAGE_BYTES / 2] = "";
    for (size_t i = 0; i < missing->count; i++) {
        char text[BLX_TEXT_BYTES + 64];
        size_t used = strlen(list);
        int rc = describe_missing(job, missing->devices[i], text, sizeof(text), err);
        if (rc < 0)
            return rc;
        snprintf(list + used, sizeof(list) - used, "%s%s", i > 0 ? ", " : "", text);
    }
    return blx_error_set(err, -ENODATA,
                         "the checkpoint %" PRIu64 " lacks %s: give one that has it, select disks "
                         "with --device, or restore the others alone with --incomplete",
                         job->manifest.timestamp, list);
}

static int check_complete(const struct job *job, struct blx_error *err)
{
    struct blx_missing missing;
    blx_missing_list(&job->manifest, &missing);
    if (missing.count == 0 || job->config->incomplete || job->config->device_count > 0)
        return 0;
    return refuse_incomplete(job, &missing, err);
}

static bool is_missing(const struct blx_missing *missing, const char *device)
{
    for (size_t i = 0; i < missing->count; i++)
        if (strcmp(missing->devices[i], device) == 0)
            return true;
    return false;
}

static int unknown_device(const struct job *job, const char *device, struct blx_error *err)
{
    struct blx_missing missing;
    blx_missing_list(&job->manifest, &missing);
    if (is_missing(&missing, device)) {
        char text[BLX_TEXT_BYTES + 64];
        int rc = describe_missing(job, device, text, sizeof(text), err);
        return rc < 0 ? rc
                      : blx_error_set(err, -ENODATA, "the checkpoint %" PRIu64 " lacks %s",
                                      job->manifest.timestamp, text);
    }
    char known[512] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < job->manifest.volume_count && used < sizeof(known); i++)
        used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", i > 0 ? ", " : "",
                                 job->manifest.volumes[i].device);
    return blx_error_set(err, -ENOENT,
                         "the checkpoint has no device '%.200s': give --device with one of %s",
                         device, known);
}

/* Marks each wanted volume with a path of one character. Returns how many there are, or -ENOENT. */
static int select_volumes(struct job *job, struct blx_error *err)
{
    const struct blx_config *config = job->config;
    int count = 0;
    for (size_t i = 0; i < config->device_count; i++) {
        bool found = false;
        for (uint32_t v = 0; v < job->manifest.volume_count && !found; v++)
            found = is_named(&job->manifest.volumes[v], config->devices[i]);
        if (!found)
            return unknown_device(job, config->devices[i], err);
    }
    for (uint32_t v = 0; v < job->manifest.volume_count; v++) {
        bool wanted = config->device_count == 0;
        for (size_t i = 0; i < config->device_count && !wanted; i++)
            wanted = is_named(&job->manifest.volumes[v], config->devices[i]);
        strcpy(target_path(job, v), wanted ? "?" : "");
        count += wanted;
    }
    return count;
}

static bool is_directory(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* -EINVAL is a usage error. */
static int check_output(struct job *job, int volume_count, struct blx_error *err)
{
    const char *output = job->config->output;
    job->into_folder = output != NULL && is_directory(output);
    if (output != NULL && !job->into_folder && volume_count > 1)
        return blx_error_set(err, -EINVAL,
                             "--output='%s' is not a directory, but %d devices are to be restored: "
                             "name an existing directory, or select one device with --device",
                             output, volume_count);
    return 0;
}

static int name_target(struct job *job, uint32_t volume, struct blx_error *err)
{
    const struct blx_config *config = job->config;
    const char *name = job->manifest.volumes[volume].name;
    char *path = target_path(job, volume);
    if (config->output == NULL)
        return blx_restore_default_path(blx_store_agent(&job->store, config->agent), &job->manifest,
                                        name, path, err);
    if (job->into_folder)
        return blx_restore_image_path(config->output, config->agent, &job->manifest, name, path,
                                      err);
    return blx_path_format(path, PATH_MAX, err, "%s", config->output);
}

/* Called for all targets before the first one is written: a name that is taken must not leave a set
 * half restored. */
static int check_target(const struct job *job, const char *path, struct blx_error *err)
{
    struct stat st;
    if (job->config->force || job->config->delta || lstat(path, &st) != 0 || S_ISBLK(st.st_mode) ||
        S_ISLNK(st.st_mode))
        return 0;
    return blx_error_set(
        err, -EEXIST,
        "'%s' already exists: give another --output, --delta to bring it up to date, or --force to "
        "replace it",
        path);
}

static int name_targets(struct job *job, struct blx_error *err)
{
    int rc = 0;
    for (uint32_t v = 0; rc == 0 && v < job->manifest.volume_count; v++) {
        if (target_path(job, v)[0] == '\0')
            continue;
        rc = name_target(job, v, err);
        if (rc == 0)
            rc = check_target(job, target_path(job, v), err);
    }
    return rc;
}

static int open_job(struct job *job, struct blx_error *err)
{
    const struct blx_config *config = job->config;
    blx_timestamp timestamp;
    /* Another output may be one that only root can write to. */
    int rc = config->output == NULL ? cli_become_owner(config->data_dir, err) : 0;
    if (rc == 0)
        rc = blx_store_open(config->data_dir, BLX_STORE_READ, &job->store, err);
    if (rc == 0)
        rc = blx_manifest_resolve(blx_store_agent(&job->store, config->agent), config->checkpoint,
                                  &timestamp, err);
    if (rc == 0)
        rc = blx_manifest_read(blx_store_agent(&job->store, config->agent), timestamp,
                               &job->manifest, err);
    if (rc < 0)
        return rc;
    job->paths = calloc(job->manifest.volume_count + 1, PATH_MAX);
    if (job->paths == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot restore '%s'", config->agent);
    return 0;
}

static int read_keys(struct job *job, struct blx_error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < job->config->key_count; i++)
        rc = blx_keyring_add(&job->keys, job->config->keys[i], err);
    return rc;
}

/* Called before the first volume is written: a missing key must not leave a set half restored. */
static int check_keys(const struct job *job, struct blx_error *err)
{
    const struct blx_key *key;
    int rc = 0;
    for (uint32_t v = 0; rc == 0 && v < job->manifest.volume_count; v++) {
        const struct blx_manifest_volume *volume = &job->manifest.volumes[v];
        if (target_path(job, v)[0] == '\0')
            continue;
        rc = blx_keyring_choose(&job->keys, &volume->key_id, &key, err);
        if (rc < 0)
            blx_error_prefix(err, "cannot restore '%s' of the checkpoint %" PRIu64, volume->name,
                             job->manifest.timestamp);
    }
    return rc;
}

static void list_losses(const char *path, const struct blx_losses *losses)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < losses->count; i++) {
        const struct blx_loss *loss = &losses->list[i];
        if (loss->bytes == 0)
            cli_note("%s", loss->cause);
        else
            cli_note("bytes %" PRIu64 "-%" PRIu64 " are zeros: %s", loss->offset_bytes,
                     loss->offset_bytes + loss->bytes - 1, loss->cause);
        bytes += loss->bytes;
    }
    cli_note("'%s' was restored from a damaged checkpoint: %" PRIu64 " bytes are missing", path,
             bytes);
}

static unsigned restore_flags(const struct blx_config *config)
{
    return (config->delta ? BLX_RESTORE_DELTA : 0U) | (config->resume ? BLX_RESTORE_RESUME : 0U) |
           (config->force ? BLX_RESTORE_FORCE : 0U);
}

/* 1: the volume is restored, except for damage. */
static int restore_volume(const struct job *job, uint32_t volume, struct blx_error *err)
{
    const char *name = job->manifest.volumes[volume].name;
    char label[BLX_NAME_BYTES + 16];
    snprintf(label, sizeof(label), "restoring %s", name);
    struct blx_progress bar;
    blx_progress_init(&bar, label, 0);
    struct blx_restore_progress progress = {.report = cli_progress, .arg = &bar};
    BLX_CLEANUP(blx_losses_done) struct blx_losses losses = {0};
    uint64_t written_bytes = 0;
    struct blx_restore_target target = {.path = target_path(job, volume),
                                        .flags = restore_flags(job->config),
                                        .keys = &job->keys,
                                        .written_bytes = &written_bytes,
                                        .losses = job->config->force ? &losses : NULL};
    int rc = blx_restore(blx_store_agent(&job->store, job->config->agent), job->manifest.timestamp,
                         name, &target, &progress, err);
    blx_progress_done(&bar);
    if (rc == 0) {
        if (target.flags & (BLX_RESTORE_DELTA | BLX_RESTORE_RESUME))
            cli_note("%" PRIu64 " bytes of '%s' differed and were written", written_bytes,
                     target.path);
        printf("%s\n", target.path);
        fflush(stdout);
    }
    if (rc < 0 || losses.count == 0)
        return rc;
    list_losses(target.path, &losses);
    return 1;
}

enum blx_exit cli_restore(const struct cli_request *request, struct blx_error *err)
{
    BLX_CLEANUP(job_done)
    struct job job = {.config = request->config, .store.lock_fd = -1};
    if (read_keys(&job, err) < 0 || open_job(&job, err) < 0)
        return BLX_EXIT_FAILED;
    blx_raise_file_limit(); /* a chain has many segments */
    int count = select_volumes(&job, err);
    if (count < 0)
        return BLX_EXIT_FAILED;
    int rc = check_output(&job, count, err);
    if (rc < 0)
        return rc == -EINVAL ? BLX_EXIT_USAGE : BLX_EXIT_FAILED;
    rc = check_complete(&job, err);
    if (rc == 0)
        rc = name_targets(&job, err);
    if (rc == 0)
        rc = check_keys(&job, err);
    bool damaged = false;
    for (uint32_t v = 0; rc >= 0 && v < job.manifest.volume_count; v++) {
        if (target_path(&job, v)[0] != '\0')
            rc = restore_volume(&job, v, err);
        damaged = damaged || rc > 0;
    }
    return rc < 0 || damaged ? BLX_EXIT_FAILED : BLX_EXIT_OK;
}
