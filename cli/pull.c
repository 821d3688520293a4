/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep agent restore`: writes this machine's disks with what a dispatcher gives for a token. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/clock.h"
#include "base/progress.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/describe.h"
#include "cli/secret.h"
#include "cli/target.h"
#include "store/restore/pull.h"
#include "tls/restorer.h"

enum { TOKEN_LINE_BYTES = 512, STATE_FILE_MODE = 0600 };

/* A disk that is restored. */
struct disk {
    bool wanted;
    bool continues; /* a run before has left something */
    char path[PATH_MAX];
    char journal[PATH_MAX];
};

struct job {
    const struct blx_config *config;
    struct blx_restorer restorer;
    struct blx_keyring keys;
    struct blx_pull *pull;
    struct disk *disks; /* owned; one for each volume */
    uint64_t written_bytes;
};

static void job_done(struct job *job)
{
    blx_pull_close(job->pull);
    blx_keyring_done(&job->keys);
    blx_restorer_wipe(&job->restorer);
    free(job->disks);
}

static int read_token(struct job *job, struct blx_error *err)
{
    const struct blx_config *config = job->config;
    char line[TOKEN_LINE_BYTES];
    int rc = cli_secret_read(config->token_file, "Token: ", line, sizeof(line), err);
    if (rc == 0)
        rc = blx_restorer_begin(&job->restorer, line, config->state_dir, config->dispatcher_addr,
                                err);
    OPENSSL_cleanse(line, sizeof(line));
    return rc;
}

static int read_keys(struct job *job, struct blx_error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < job->config->key_count; i++)
        rc = blx_keyring_add(&job->keys, job->config->keys[i], err);
    return rc;
}

static void note(void *arg, const char *text)
{
    (void)arg;
    cli_note("%s", text);
}

static int connect_to(struct job *job, struct blx_error *err)
{
    struct blx_pull_request request = {.dial = blx_restorer_dial,
                                       .arg = &job->restorer,
                                       .hello = job->restorer.hello,
                                       .note = note};
    memcpy(request.hardware, job->restorer.hardware, sizeof(request.hardware));
    int rc = blx_pull_open(&request, &job->pull, err);
    if (rc == -EACCES && !job->restorer.again)
        blx_restorer_forget(&job->restorer); /* it does not have the token */
    if (rc < 0)
        return rc;
    job->disks = calloc(blx_pull_get_offer(job->pull)->volume_count, sizeof(job->disks[0]));
    return job->disks != NULL ? 0 : blx_error_errno(err, -ENOMEM, "cannot restore");
}

static int unknown_device(const struct job *job, const char *device, struct blx_error *err)
{
    char known[512] = "";
    size_t used = 0;
    const struct blx_restore_offer *offer = blx_pull_get_offer(job->pull);
    for (uint32_t v = 0; v < offer->volume_count && used < sizeof(known); v++)
        used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", v > 0 ? ", " : "",
                                 blx_pull_get_volume(job->pull, v)->device);
    return blx_error_set(err, -ENOENT,
                         "the token gives no device '%.200s': give --device with one of %s", device,
                         known);
}

/* As in the manifest that the offer was made of. */
static bool is_named(const struct blx_restore_volume *volume, const char *device)
{
    struct blx_manifest_volume named = {.block_shift = volume->block_shift};
    blx_text_set(named.name, volume->name);
    blx_text_set(named.device, volume->device);
    return blx_manifest_volume_is_named(&named, device);
}

/* How many there are. */
static int select_disks(struct job *job, struct blx_error *err)
{
    const struct blx_config *config = job->config;
    uint32_t volumes = blx_pull_get_offer(job->pull)->volume_count;
    int count = 0;
    for (size_t i = 0; i < config->device_count; i++) {
        bool found = false;
        for (uint32_t v = 0; v < volumes; v++) {
            if (is_named(blx_pull_get_volume(job->pull, v), config->devices[i]))
                found = job->disks[v].wanted = true;
        }
        if (!found)
            return unknown_device(job, config->devices[i], err);
    }
    for (uint32_t v = 0; v < volumes; v++) {
        job->disks[v].wanted |= config->device_count == 0;
        count += job->disks[v].wanted;
    }
    return count;
}

static int name_disk(struct job *job, uint32_t volume, bool into_folder, struct blx_error *err)
{
    const struct blx_restore_offer *offer = blx_pull_get_offer(job->pull);
    const char *name = blx_pull_get_volume(job->pull, volume)->name;
    struct disk *disk = &job->disks[volume];
    const struct blx_manifest names = {.timestamp = offer->checkpoint,
                                       .volume_count = offer->volume_count};
    int rc = into_folder
                 ? blx_restore_image_path(job->config->output, offer->agent_id, &names, name,
                                          BLX_IMAGE_RAW, disk->path, err)
                 : blx_path_format(disk->path, sizeof(disk->path), err, "%s", job->config->output);
    if (rc == 0)
        rc = blx_path_format(disk->journal, sizeof(disk->journal), err,
                             "%s/%s-%" PRIu64 "-%s.journal", job->config->state_dir,
                             offer->agent_id, offer->checkpoint, name);
    return rc;
}

/* What the run before left is gone on with. Everything else is looked at as a restore does. */
static int check_disk(struct job *job, uint32_t volume, struct blx_error *err)
{
    struct disk *disk = &job->disks[volume];
    struct cli_target target;
    disk->continues = (job->restorer.again || job->config->resume) &&
                      blx_pull_can_resume(job->pull, volume, disk->journal, disk->path);
    disk->continues &= !job->config->delta;
    if (disk->continues || job->config->force || job->config->delta)
        return 0;
    cli_target_look(disk->path, &target);
    if (target.kind == CLI_TARGET_DEVICE)
        return cli_target_check(disk->path, &target, err);
    if (!cli_target_is_taken(disk->path))
        return 0;
    return blx_error_set(err, -EEXIST,
                         "'%s' already exists: give another --output, or --force to replace it",
                         disk->path);
}

/* For all disks before the first one is written. */
static int prepare_disks(struct job *job, struct blx_error *err)
{
    const struct blx_config *config = job->config;
    bool into_folder = cli_target_is_folder(config->output), continues = false;
    int count = select_disks(job, err), rc = 0;
    if (count < 0)
        return count;
    if (count > 1 && !into_folder)
        return blx_error_set(err, -EINVAL,
                             "--output='%s' is not a directory, but %d devices are to be restored: "
                             "name an existing directory, or select one device with --device",
                             config->output, count);
    for (uint32_t v = 0; rc == 0 && v < blx_pull_get_offer(job->pull)->volume_count; v++) {
        const struct blx_restore_volume *volume = blx_pull_get_volume(job->pull, v);
        const struct blx_key *key;
        if (!job->disks[v].wanted)
            continue;
        rc = blx_keyring_choose(&job->keys, &volume->key_id, &key, err);
        if (rc == 0)
            rc = name_disk(job, v, into_folder, err);
        if (rc == 0)
            rc = check_disk(job, v, err);
        continues |= job->disks[v].continues;
    }
    if (rc == 0 && config->resume && !continues)
        rc = blx_error_set(err, -ENOENT,
                           "'%s' knows of no interrupted restore of this checkpoint to '%s': leave "
                           "out --resume to begin",
                           config->state_dir, config->output);
    return rc < 0 ? rc : count;
}

/* What is shown of a disk: first that it is compared, if it is, and then that it is written. */
struct show {
    const char *volume;
    bool comparing, writing; /* whose bar is begun */
    struct blx_progress bar;
};

static void show(struct show *show, const char *label, bool *begun, uint64_t done, uint64_t total)
{
    char text[BLX_NAME_BYTES + 16];
    if (!*begun) {
        if (show->comparing || show->writing)
            blx_progress_done(&show->bar);
        show->comparing = show->writing = false;
        *begun = true;
        snprintf(text, sizeof(text), "%s %s", label, show->volume);
        blx_progress_init(&show->bar, text, 0);
    }
    cli_progress(&show->bar, done, total);
}

static void show_comparing(void *arg, uint64_t done_bytes, uint64_t total_bytes)
{
    struct show *shown = arg;
    show(shown, "comparing", &shown->comparing, done_bytes, total_bytes);
}

static void show_writing(void *arg, uint64_t done_bytes, uint64_t total_bytes)
{
    struct show *shown = arg;
    show(shown, "restoring", &shown->writing, done_bytes, total_bytes);
}

static unsigned flags_of(const struct job *job, const struct disk *disk)
{
    return (disk->continues ? BLX_RESTORE_CONTINUE : 0U) |
           (job->config->force ? BLX_RESTORE_FORCE : 0U) |
           (job->config->delta ? BLX_RESTORE_DELTA : 0U);
}

static int restore_disk(struct job *job, uint32_t volume, struct blx_error *err)
{
    struct disk *disk = &job->disks[volume];
    struct show shown = {.volume = blx_pull_get_volume(job->pull, volume)->name};
    const struct blx_restore_progress comparing = {.report = show_comparing, .arg = &shown};
    const struct blx_restore_progress writing = {.report = show_writing, .arg = &shown};
    uint64_t written_bytes = 0;
    const struct blx_pull_target target = {
        .target = {.path = disk->path,
                   .flags = flags_of(job, disk),
                   .keys = &job->keys,
                   .written_bytes = &written_bytes},
        .journal = disk->journal,
        .comparing = &comparing,
    };
    if (disk->continues)
        cli_note("going on with '%s', as '%s' says", disk->path, disk->journal);
    int rc = blx_pull_volume(job->pull, volume, &target, &writing, err);
    if (shown.comparing || shown.writing)
        blx_progress_done(&shown.bar);
    job->written_bytes += written_bytes;
    if (rc == 0) {
        printf("%s\n", disk->path);
        fflush(stdout);
    }
    return rc;
}

/* What the disk gives, and not what was meant to be there. */
static int verify_disk(struct job *job, uint32_t volume, struct blx_error *err)
{
    struct disk *disk = &job->disks[volume];
    char label[BLX_NAME_BYTES + 16], size[BLX_UNIT_TEXT_BYTES];
    snprintf(label, sizeof(label), "verifying %s", blx_pull_get_volume(job->pull, volume)->name);
    struct blx_progress bar;
    blx_progress_init(&bar, label, 0);
    struct blx_restore_progress progress = {.report = cli_progress, .arg = &bar};
    uint64_t compared_bytes = 0;
    const struct blx_restore_target target = {
        .path = disk->path, .keys = &job->keys, .written_bytes = &compared_bytes};
    int rc = blx_pull_verify(job->pull, volume, &target, &progress, err);
    blx_progress_done(&bar);
    if (rc == -EUCLEAN)
        unlink(disk->journal); /* nothing of it is believed */
    if (rc < 0)
        return rc;
    cli_note("'%s' is verified: %" PRIu64 " blocks of 4096 bytes (%s) were read back, and all are "
             "the checkpoint's",
             disk->path, compared_bytes / 4096, blx_size_format(compared_bytes, size));
    return 0;
}

static int done_path(const struct job *job, uint32_t volume, char path[PATH_MAX])
{
    return blx_path_format(path, PATH_MAX, NULL, "%s-%s.done", job->restorer.path,
                           blx_pull_get_volume(job->pull, volume)->name);
}

/* Disks of one token may be restored one after another: what is done is noted beside the machine's
 * secret. Whether all of them are. */
static bool note_done(const struct job *job)
{
    const struct blx_restore_offer *offer = blx_pull_get_offer(job->pull);
    char path[PATH_MAX];
    bool all = true;
    for (uint32_t v = 0; v < offer->volume_count; v++) {
        if (done_path(job, v, path) < 0)
            return false;
        if (job->disks[v].wanted)
            blx_file_replace(path, "", 0, STATE_FILE_MODE, NULL); /* or the token is not spent */
        all &= job->disks[v].wanted || access(path, F_OK) == 0;
    }
    return all;
}

static void forget_done(const struct job *job)
{
    char path[PATH_MAX];
    for (uint32_t v = 0; v < blx_pull_get_offer(job->pull)->volume_count; v++)
        if (done_path(job, v, path) == 0)
            unlink(path);
}

/* What it means if the token takes over. */
static void tell_handover(const struct job *job, bool all)
{
    const char *agent_id = blx_pull_get_offer(job->pull)->agent_id;
    if (!blx_pull_takes_over(job->pull))
        return;
    if (all)
        cli_note("this machine is the agent '%s' from now on, as soon as it boots from the disk; "
                 "the old machine is refused (`blxrep dispatcher readmit` takes that back)",
                 agent_id);
    else
        cli_note("this machine becomes the agent '%s' once all its disks are restored", agent_id);
}

/* The token is spent once all that it gives is restored, by this run and those before. */
static void end(struct job *job)
{
    const struct blx_restore_offer *offer = blx_pull_get_offer(job->pull);
    struct blx_error err = {0};
    bool all = note_done(job), told = false;
    if (all) {
        told = blx_pull_finish(job->pull, job->written_bytes, &err) == 0;
        if (!told)
            cli_note("all is written, but the dispatcher was not told, and the token works on this "
                     "machine for another day; the same line tells it: %s",
                     err.message);
    }
    tell_handover(job, told);
    if (all && !told)
        return; /* the same line, pasted again, finds all of it written and tells the dispatcher */
    for (uint32_t v = 0; v < offer->volume_count; v++)
        if (job->disks[v].wanted)
            unlink(job->disks[v].journal);
    if (all) {
        blx_restorer_forget(&job->restorer);
        forget_done(job);
    }
}

static void sum_up(const struct job *job, int count, uint64_t elapsed_ns)
{
    const struct blx_restore_offer *offer = blx_pull_get_offer(job->pull);
    struct cli_outcome outcome = {.checkpoint = offer->checkpoint,
                                  .agent_id = offer->agent_id,
                                  .disks = count,
                                  .written_bytes = job->written_bytes,
                                  .elapsed_ns = elapsed_ns};
    for (uint32_t v = 0; v < offer->volume_count && outcome.path == NULL; v++) {
        outcome.path = job->disks[v].wanted ? job->disks[v].path : NULL;
        outcome.disk_bytes = blx_pull_get_volume(job->pull, v)->size_bytes;
    }
    cli_target_sum_up(&outcome);
}

enum blx_exit cli_pull(const struct cli_request *request, struct blx_error *err)
{
#ifdef BLXREP_STATIC
    if (request->config->files) {
        blx_error_set(err, -EINVAL,
                      "this program restores disks alone: the packages of blxrep "
                      "have the one that restores files");
        return BLX_EXIT_USAGE;
    }
#else
    if (request->config->files)
        return cli_pull_files(request, err);
#endif
    if (request->config->path_count > 0) {
        blx_error_set(err, -EINVAL, "'%s' is a PATH, which needs --files",
                      request->config->paths[0]);
        return BLX_EXIT_USAGE;
    }
    BLX_CLEANUP(job_done) struct job job = {.config = request->config};
    if (request->config->delta && request->config->resume) {
        blx_error_set(err, -EINVAL,
                      "--delta compares the target, and goes on with what an interrupted restore "
                      "left by itself: leave out --resume");
        return BLX_EXIT_USAGE;
    }
    int rc = read_keys(&job, err);
    if (rc == 0)
        rc = read_token(&job, err);
    if (rc == 0)
        rc = connect_to(&job, err);
    if (rc < 0)
        return BLX_EXIT_FAILED;
    int count = prepare_disks(&job, err);
    if (count < 0)
        return count == -EINVAL ? BLX_EXIT_USAGE : BLX_EXIT_FAILED;
    uint64_t begun_ns = blx_clock_ns();
    for (uint32_t v = 0; rc == 0 && v < blx_pull_get_offer(job.pull)->volume_count; v++)
        if (job.disks[v].wanted)
            rc = restore_disk(&job, v, err);
    for (uint32_t v = 0;
         rc == 0 && job.config->verify && v < blx_pull_get_offer(job.pull)->volume_count; v++)
        if (job.disks[v].wanted)
            rc = verify_disk(&job, v, err);
    if (rc < 0)
        return BLX_EXIT_FAILED;
    end(&job);
    sum_up(&job, count, blx_clock_ns() - begun_ns);
    return BLX_EXIT_OK;
}
