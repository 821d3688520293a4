/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep restore`: writes a checkpoint's volumes to images or to a device. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/nbdkit_plugin.h"
#include "base/progress.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/agents.h"
#include "cli/command.h"
#include "cli/describe.h"
#include "cli/restore_plan.h"
#include "cli/restore_token.h"
#include "cli/stream.h"
#include "cli/target.h"
#include "store/checkpoint/manifest_file.h"
#include "store/checkpoint/missing.h"
#include "store/owner.h"
#include "store/own_id.h"
#include "store/restore/image_format.h"
#include "store/restore/restore_convert.h"
#include "store/restore/restore.h"
#include "store/view/info.h"
#include "wire/protection.h"

struct job {
    const struct blx_config *config;
    enum blx_owner owner; /* as whom the store is read */
    struct blx_store store;
    struct blx_manifest manifest;
    bool into_folder; /* --output is a directory */
    struct blx_keyring keys;
    struct blx_overlay *overlay; /* owned; NULL: none */
    uint64_t written_bytes;      /* so far */
    char *paths;                 /* owned: PATH_MAX bytes for each volume; "": it is not restored */
    struct cli_restore_disk disks[BLX_MAX_VOLUMES]; /* those that are */
    size_t disk_count;
};

static void job_done(struct job *job)
{
    blx_store_close(&job->store);
    blx_manifest_done(&job->manifest);
    blx_keyring_done(&job->keys);
    blx_overlay_close(job->overlay);
    free(job->paths);
    blx_owner_leave(job->owner, NULL);
}

static char *target_path(const struct job *job, uint32_t volume)
{
    return job->paths + (size_t)volume * PATH_MAX;
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
            found = blx_manifest_volume_is_named(&job->manifest.volumes[v], config->devices[i]);
        if (!found)
            return unknown_device(job, config->devices[i], err);
    }
    for (uint32_t v = 0; v < job->manifest.volume_count; v++) {
        bool wanted = config->device_count == 0;
        for (size_t i = 0; i < config->device_count && !wanted; i++)
            wanted = blx_manifest_volume_is_named(&job->manifest.volumes[v], config->devices[i]);
        strcpy(target_path(job, v), wanted ? "?" : "");
        count += wanted;
    }
    return count;
}

/* The image goes to the standard output. */
static bool streams(const struct job *job)
{
    return job->config->output != NULL && strcmp(job->config->output, "-") == 0;
}

/* Everything but a raw image is made by qemu-img. */
static bool converts(const struct job *job)
{
    return job->config->image_format != BLX_IMAGE_RAW;
}

/* -EINVAL is a usage error. */
static int check_format(const struct job *job, struct blx_error *err)
{
    const struct blx_config *config = job->config;
    const char *format = blx_image_format_name(config->image_format);
    if (!converts(job))
        return 0;
    if (config->delta || config->resume)
        return blx_error_set(err, -EINVAL,
                             "--delta and --resume compare a raw image or a device: leave them "
                             "out, or --format=%s",
                             format);
    if (config->overlay != NULL)
        return blx_error_set(err, -EINVAL,
                             "--overlay goes into a raw image or a device: leave --format=%s out, "
                             "and convert the image with `qemu-img convert`",
                             format);
    if (streams(job))
        return blx_error_set(err, -EINVAL,
                             "a %s image is not written in order, so it has no way through "
                             "--output=-: name a file",
                             format);
    if (config->output == NULL)
        return 0;
    struct cli_target target;
    cli_target_look(config->output, &target);
    if (target.kind == CLI_TARGET_DEVICE)
        return blx_error_set(err, -EINVAL,
                             "'%s' is a device, which takes the disk as it is: leave "
                             "--format=%s out, or name a file",
                             config->output, format);
    return 0;
}

/* -EINVAL is a usage error. */
static int check_stream(const struct job *job, int volume_count, struct blx_error *err)
{
    const struct blx_config *config = job->config;
    if (volume_count != 1)
        return blx_error_set(err, -EINVAL,
                             "--output=- is one image, but %d devices are to be restored: select "
                             "one with --device",
                             volume_count);
    if (config->overlay != NULL)
        return blx_error_set(err, -EINVAL,
                             "--output=- writes the checkpoint alone: name a file for --overlay");
    if (config->force || config->delta || config->resume || config->dry_run)
        return blx_error_set(err, -EINVAL,
                             "--output=- has no target that --force, --delta, --resume or "
                             "--dry-run could mean: leave them out, or name a file");
    if (config->json)
        return blx_error_set(err, -EINVAL,
                             "--output=- has the standard output for itself: leave --json out, or "
                             "name a file");
    if (isatty(STDOUT_FILENO) == 1)
        return blx_error_set(err, -EINVAL,
                             "--output=- writes a disk's image, and the standard output is a "
                             "terminal: send it to a file or a program");
    return 0;
}

/* -EINVAL is a usage error. */
static int check_token(const struct job *job, struct blx_error *err)
{
    const struct blx_config *config = job->config;
    if (config->takes_over && config->device_count > 0)
        return blx_error_set(err, -EINVAL,
                             "--takes-over needs all disks of '%s', because the old machine is "
                             "refused afterwards: leave out --device",
                             config->agent);
    if (config->output != NULL || config->force || config->delta || config->resume ||
        config->dry_run || config->key_count > 0)
        return blx_error_set(err, -EINVAL,
                             "--token writes nothing here, and the machine that restores is told "
                             "what to write and with which key: leave out --output, --force, "
                             "--delta, --resume, --dry-run and --key");
    return 0;
}

/* -EINVAL is a usage error. */
static int check_output(struct job *job, int volume_count, struct blx_error *err)
{
    const char *output = job->config->output;
    if (job->config->make_token)
        return check_token(job, err);
    if (job->config->takes_over)
        return blx_error_set(err, -EINVAL,
                             "--takes-over means a machine that restores over the network: give "
                             "--token, too");
    int rc = check_format(job, err);
    if (rc < 0)
        return rc;
    if (streams(job))
        return check_stream(job, volume_count, err);
    job->into_folder = output != NULL && cli_target_is_folder(output);
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
                                        name, config->image_format, path, err);
    if (job->into_folder)
        return blx_restore_image_path(config->output, config->agent, &job->manifest, name,
                                      config->image_format, path, err);
    return blx_path_format(path, PATH_MAX, err, "%s", config->output);
}

/* Called for all targets before the first one is written: a name that is taken must not leave a set
 * half restored. */
static int check_target(const struct job *job, const char *path, struct blx_error *err)
{
    struct cli_target target;
    if (job->config->force || job->config->delta)
        return 0;
    cli_target_look(path, &target);
    if (target.kind == CLI_TARGET_DEVICE)
        return cli_target_check(path, &target, err);
    if (!cli_target_is_taken(path))
        return 0;
    return blx_error_set(err, -EEXIST,
                         "'%s' already exists: give another --output%s, or --force to replace it",
                         path, converts(job) ? "" : ", --delta to bring it up to date");
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
    /* Another output may be one that only root can write to; the store is read as its owner in any
     * case, who can put links there. */
    int rc = config->output == NULL || streams(job)
                 ? cli_become_owner(config->data_dir, err)
                 : blx_owner_visit(config->data_dir, &job->owner, err);
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
    cli_note_checkpoint(config, timestamp);
    if (job->overlay != NULL)
        rc = blx_overlay_begin(job->overlay, config->agent, &job->manifest, err);
    if (rc < 0)
        return rc;
    job->paths = calloc(job->manifest.volume_count + 1, PATH_MAX);
    if (job->paths == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot restore '%s'", config->agent);
    return 0;
}

/* What is the caller's: paths that the data directory's owner may not come to. */
static int open_callers(struct job *job, struct blx_error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < job->config->key_count; i++)
        rc = blx_keyring_add(&job->keys, job->config->keys[i], err);
    if (rc == 0 && job->config->overlay != NULL)
        rc = blx_overlay_open(job->config->overlay, BLX_OVERLAY_READ, &job->overlay, err);
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

/* Returns how many bytes are not the checkpoint's. */
static uint64_t list_losses(const char *path, const struct blx_losses *losses)
{
    uint64_t bytes[BLX_LOSS_OLDER + 1] = {0};
    for (size_t i = 0; i < losses->count; i++) {
        const struct blx_loss *loss = &losses->list[i];
        bool is_older = loss->content == BLX_LOSS_OLDER;
        if (loss->bytes == 0)
            cli_note("%s", loss->cause);
        else
            cli_note("bytes %" PRIu64 "-%" PRIu64 " %s: %s", loss->offset_bytes,
                     loss->offset_bytes + loss->bytes - 1,
                     is_older ? "have older content" : "are zeros", loss->cause);
        bytes[loss->content] += loss->bytes;
    }
    cli_note("'%s' was restored from a damaged checkpoint: %" PRIu64 " bytes are missing, %" PRIu64
             " are older",
             path, bytes[BLX_LOSS_ZEROS], bytes[BLX_LOSS_OLDER]);
    return bytes[BLX_LOSS_ZEROS] + bytes[BLX_LOSS_OLDER];
}

/* What a restore of the volume writes. 0 if a damaged chain does not tell; the restore says why. */
static uint64_t bytes_to_write(const struct job *job, uint32_t volume)
{
    struct blx_info info = {0};
    struct blx_error ignored = {0};
    struct blx_agent_store agent = blx_store_agent(&job->store, job->config->agent);
    return blx_info_read(agent, &job->manifest, &job->manifest.volumes[volume], &info, &ignored) < 0
               ? 0
               : info.used_bytes;
}

/* Called before the first volume is written, too. */
static int check_sizes(const struct job *job, struct blx_error *err)
{
    int rc = 0;
    for (uint32_t v = 0; rc == 0 && v < job->manifest.volume_count; v++)
        if (target_path(job, v)[0] != '\0')
            rc = blx_image_format_check_size(job->config->image_format,
                                             job->manifest.volumes[v].size_bytes, err);
    return rc;
}

/* The images that go to one filesystem fit in it together. In the store's own, what is nearly full
 * would stop the dispatcher; --force takes all of it. Of a VMDK image, which is compressed, nobody
 * knows the size beforehand. */
static int check_room(const struct job *job, struct blx_error *err)
{
    struct cli_target target = {0};
    const char *path = NULL;
    uint64_t needed = 0;
    if (job->config->force || job->config->delta || job->config->resume ||
        job->config->image_format == BLX_IMAGE_VMDK)
        return 0;
    for (uint32_t v = 0; v < job->manifest.volume_count; v++) {
        if (target_path(job, v)[0] == '\0')
            continue;
        path = target_path(job, v);
        cli_target_look(path, &target);
        if (target.kind == CLI_TARGET_DEVICE)
            return 0;
        needed += bytes_to_write(job, v);
    }
    bool own = job->config->output == NULL;
    uint64_t kept = own ? target.filesystem_bytes / BLX_NEARLY_FULL_PART : 0;
    if (path == NULL || target.filesystem_bytes == 0 || needed + kept <= target.free_bytes)
        return 0;
    char need[BLX_UNIT_TEXT_BYTES], left[BLX_UNIT_TEXT_BYTES];
    return blx_error_set(err, -ENOSPC,
                         "'%s' needs %s, and its filesystem has %s free%s: give another --output, "
                         "select a disk with --device, or write nevertheless with --force",
                         path, blx_size_format(needed, need),
                         blx_size_format(target.free_bytes, left),
                         own ? ", of which the dispatcher needs a twentieth" : "");
}

static void sum_up(const struct job *job, int count, uint64_t elapsed_ns)
{
    struct cli_outcome outcome = {.checkpoint = job->manifest.timestamp,
                                  .agent_id = job->config->agent,
                                  .disks = count,
                                  .written_bytes = job->written_bytes,
                                  .elapsed_ns = elapsed_ns};
    for (uint32_t v = 0; v < job->manifest.volume_count && outcome.path == NULL; v++) {
        outcome.path = target_path(job, v)[0] != '\0' ? target_path(job, v) : NULL;
        outcome.disk_bytes = job->manifest.volumes[v].size_bytes;
    }
    outcome.is_converted = converts(job);
    cli_target_sum_up(&outcome);
}

static unsigned restore_flags(const struct blx_config *config)
{
    return (config->delta ? BLX_RESTORE_DELTA : 0U) | (config->resume ? BLX_RESTORE_RESUME : 0U) |
           (config->force ? BLX_RESTORE_FORCE : 0U);
}

static int write_volume(const struct job *job, uint32_t volume,
                        const struct blx_restore_target *target,
                        const struct blx_restore_progress *progress, struct blx_error *err)
{
    const struct blx_agent_store agent = blx_store_agent(&job->store, job->config->agent);
    const char *name = job->manifest.volumes[volume].name;
    char plugin[PATH_MAX];
    if (!converts(job))
        return blx_restore(agent, job->manifest.timestamp, name, target, progress, err);
    const struct blx_restore_conversion conversion = {.format = job->config->image_format,
                                                      .plugin = plugin,
                                                      .total_bytes = bytes_to_write(job, volume)};
    int rc = blx_nbdkit_plugin_find(plugin, err);
    return rc < 0 ? rc
                  : blx_restore_convert(agent, job->manifest.timestamp, name, target, &conversion,
                                        progress, err);
}

/* 1: the volume is restored, except for damage. */
static int restore_volume(struct job *job, struct cli_restore_disk *disk, struct blx_error *err)
{
    const uint32_t volume = (uint32_t)(disk->volume - job->manifest.volumes);
    const char *name = disk->volume->name;
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
                                        .overlay = job->overlay,
                                        .overlay_place = blx_overlay_place(&job->manifest, volume),
                                        .written_bytes = &written_bytes,
                                        .losses =
                                            job->config->force && !converts(job) ? &losses : NULL};
    int rc = write_volume(job, volume, &target, &progress, err);
    blx_progress_done(&bar);
    job->written_bytes += written_bytes;
    disk->written_bytes = written_bytes;
    if (rc == 0) {
        if (target.flags & (BLX_RESTORE_DELTA | BLX_RESTORE_RESUME))
            cli_note("%" PRIu64 " bytes of '%s' differed and were written", written_bytes,
                     target.path);
        if (!job->config->json)
            printf("%s\n", target.path);
        fflush(stdout);
    }
    if (rc < 0 || losses.count == 0)
        return rc;
    disk->lost_bytes = list_losses(target.path, &losses);
    return 1;
}

/* A wanted volume's path is not empty, see select_volumes(). */
static const char *find_wanted(const struct job *job)
{
    uint32_t volume = 0;
    while (target_path(job, volume)[0] == '\0')
        volume++;
    return job->manifest.volumes[volume].name;
}

static int stream_volume(const struct job *job, struct blx_error *err)
{
    const char *name = find_wanted(job);
    char label[BLX_NAME_BYTES + 16], size[BLX_UNIT_TEXT_BYTES];
    struct blx_progress bar;
    uint64_t written_bytes = 0;
    snprintf(label, sizeof(label), "restoring %s", name);
    blx_progress_init(&bar, label, 0);
    const struct cli_stream stream = {.agent = blx_store_agent(&job->store, job->config->agent),
                                      .checkpoint = job->manifest.timestamp,
                                      .volume = name,
                                      .keys = &job->keys,
                                      .bar = &bar};
    int rc = cli_stream_write(&stream, STDOUT_FILENO, &written_bytes, err);
    blx_progress_done(&bar);
    if (rc == 0)
        cli_note("checkpoint %" PRIu64 " of '%s': the image of '%s' is complete, %" PRIu64
                 " bytes (%s)",
                 job->manifest.timestamp, job->config->agent, name, written_bytes,
                 blx_size_format(written_bytes, size));
    return rc;
}

/* Whatever can be refused, before the first byte is written. */
static int prepare(struct job *job, struct blx_error *err)
{
    int rc = check_complete(job, err);
    if (rc == 0 && !streams(job))
        rc = name_targets(job, err);
    if (rc == 0)
        rc = check_sizes(job, err);
    return rc == 0 ? check_keys(job, err) : rc;
}

/* 1: they are restored, except for damage. */
static int restore_volumes(struct job *job, struct blx_error *err)
{
    bool damaged = false;
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < job->disk_count; i++) {
        rc = restore_volume(job, &job->disks[i], err);
        damaged = damaged || rc > 0;
    }
    return rc < 0 ? rc : damaged;
}

static void list_disks(struct job *job)
{
    for (uint32_t v = 0; v < job->manifest.volume_count; v++)
        if (target_path(job, v)[0] != '\0')
            job->disks[job->disk_count++] =
                (struct cli_restore_disk){.volume = &job->manifest.volumes[v],
                                          .path = target_path(job, v),
                                          .to_write = bytes_to_write(job, v)};
}

static void tell_plan(const struct job *job, uint64_t elapsed_ns)
{
    const struct cli_restore_plan plan = {.config = job->config,
                                          .manifest = &job->manifest,
                                          .disks = job->disks,
                                          .disk_count = job->disk_count,
                                          .elapsed_ns = elapsed_ns};
    if (job->config->json)
        cli_restore_plan_print_json(&plan);
    else if (job->config->dry_run)
        cli_restore_plan_print(&plan);
}

static int restore_targets(struct job *job, int count, struct blx_error *err)
{
    list_disks(job);
    if (job->config->dry_run) {
        tell_plan(job, 0);
        return check_room(job, err);
    }
    uint64_t begun_ns = blx_clock_ns();
    int rc = check_room(job, err);
    if (rc == 0)
        rc = restore_volumes(job, err);
    if (rc >= 0 && strcmp(job->config->checkpoint, "latest") == 0)
        cli_agents_note(job->config->data_dir, job->config->agent);
    uint64_t elapsed_ns = blx_clock_ns() - begun_ns;
    if (rc >= 0)
        sum_up(job, count, elapsed_ns);
    if (rc >= 0)
        tell_plan(job, elapsed_ns);
    return rc;
}

/* Of the wanted volumes. */
static int print_token(const struct job *job, struct blx_error *err)
{
    struct blx_restore_grant grant = {.checkpoint = job->manifest.timestamp,
                                      .takes_over = job->config->takes_over};
    const struct blx_manifest_volume *first = NULL;
    char own_id[BLX_NAME_BYTES];
    int rc = blx_own_id_read(blx_store_agent(&job->store, job->config->agent), own_id, err);
    if (rc < 0)
        return rc;
    blx_text_set(grant.agent_id, own_id);
    for (uint32_t v = 0; v < job->manifest.volume_count; v++) {
        const struct blx_manifest_volume *volume = &job->manifest.volumes[v];
        if (target_path(job, v)[0] == '\0')
            continue;
        if (blx_manifest_volume_unreadable_bytes(volume) > 0)
            return blx_error_set(err, -EBADMSG,
                                 "the checkpoint %" PRIu64 " lacks blocks of '%s' that the agent "
                                 "could not read: restore it here, with --force, or give another",
                                 grant.checkpoint, volume->device);
        blx_text_set(grant.volumes[grant.volume_count], volume->name);
        grant.volume_count++;
        first = first == NULL ? volume : first;
    }
    if (first == NULL)
        return blx_error_set(err, -ENOENT, "the checkpoint %" PRIu64 " has no disks",
                             grant.checkpoint);
    return cli_restore_token_print(job->config, &grant, first, err);
}

enum blx_exit cli_restore(const struct cli_request *request, struct blx_error *err)
{
    BLX_CLEANUP(job_done)
    struct job job = {.config = request->config, .store.lock_fd = -1};
    if (open_callers(&job, err) < 0 || open_job(&job, err) < 0)
        return BLX_EXIT_FAILED;
    blx_raise_file_limit(); /* a chain has many segments */
    int count = select_volumes(&job, err);
    if (count < 0)
        return BLX_EXIT_FAILED;
    int rc = check_output(&job, count, err);
    if (rc < 0)
        return rc == -EINVAL ? BLX_EXIT_USAGE : BLX_EXIT_FAILED;
    if (job.config->make_token)
        return check_complete(&job, err) < 0 || print_token(&job, err) < 0 ? BLX_EXIT_FAILED
                                                                           : BLX_EXIT_OK;
    rc = prepare(&job, err);
    if (rc == 0)
        rc = streams(&job) ? stream_volume(&job, err) : restore_targets(&job, count, err);
    return rc == 0 ? BLX_EXIT_OK : BLX_EXIT_FAILED;
}
