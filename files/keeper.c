/* SPDX-License-Identifier: Apache-2.0 */
#include "files/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/io.h"
#include "base/text.h"
#include "files/blocks.h"
#include "files/disks.h"
#include "store/checkpoint/manifest_file.h"
#include "store/checkpoint/missing.h"
#include "store/owner.h"
#include "store/restore/pull_view.h"
#include "store/view/difference.h"
#include "store/view/overlay.h"
#include "store/view/partitions.h"
#include "store/view/view.h"
#include "tls/restorer.h"

/* Where a disk that the reader sees lies. */
struct part {
    struct blx_view *view; /* borrowed */
    uint64_t offset_bytes;
    uint64_t place;  /* of its volume in the overlay */
    uint32_t volume; /* its number */
};

struct keep {
    const struct files_keeper *keeper;
    struct blx_store store;
    struct blx_restorer restorer;
    struct blx_pull *pull;        /* owned; NULL: of the store */
    struct blx_manifest manifest; /* of a pull, what its offer tells of it */
    struct blx_frame_cache *cache;
    struct blx_overlay *overlay;         /* NULL: nobody writes */
    struct blx_view **views;             /* owned; one for each volume; NULL: not wanted */
    struct blx_difference **differences; /* owned, as the views; NULL: nothing is compared */
    struct files_disk *disks;            /* owned */
    struct part *parts;                  /* owned; `disk_count` of each */
    size_t disk_count;
};

static void keep_done(struct keep *keep)
{
    for (uint32_t i = 0; keep->views != NULL && i < keep->manifest.volume_count; i++)
        blx_view_close(keep->views[i]);
    for (uint32_t i = 0; keep->differences != NULL && i < keep->manifest.volume_count; i++)
        blx_difference_close(keep->differences[i]);
    free(keep->differences);
    free(keep->views);
    free(keep->disks);
    free(keep->parts);
    blx_overlay_close(keep->overlay);
    blx_frame_cache_free(keep->cache);
    blx_pull_close(keep->pull);
    blx_restorer_wipe(&keep->restorer);
    blx_manifest_done(&keep->manifest);
    blx_store_close(&keep->store);
}

static int open_manifest(struct keep *keep, struct blx_error *err)
{
    const struct blx_config *config = keep->keeper->config;
    blx_timestamp timestamp;
    enum blx_owner owner = BLX_OWNER_KEPT;
    int rc = blx_owner_become(config->data_dir, &owner, err);
    if (rc == 0)
        rc = blx_store_open(config->data_dir, BLX_STORE_READ, &keep->store, err);
    if (rc < 0)
        return rc;
    struct blx_agent_store agent = blx_store_agent(&keep->store, config->agent);
    rc = blx_manifest_resolve(agent, config->checkpoint, &timestamp, err);
    if (rc == 0)
        rc = blx_manifest_read(agent, timestamp, &keep->manifest, err);
    return rc;
}

static void note(void *arg, const char *text)
{
    (void)arg;
    fprintf(stderr, "blxrep: %s\n", text);
}

static int connect_to(struct keep *keep, struct blx_error *err)
{
    const struct blx_config *config = keep->keeper->config;
    int rc = blx_restorer_begin(&keep->restorer, keep->keeper->token, config->state_dir,
                                config->dispatcher_addr, err);
    if (rc < 0)
        return rc;
    struct blx_pull_request request = {.dial = blx_restorer_dial,
                                       .arg = &keep->restorer,
                                       .hello = keep->restorer.hello,
                                       .note = note};
    /* A token that takes over wants it; it does so when disks are restored, and not here. */
    memcpy(request.hardware, keep->restorer.hardware, sizeof(request.hardware));
    rc = blx_pull_open(&request, &keep->pull, err);
    if (rc == -EACCES && !keep->restorer.again)
        blx_restorer_forget(&keep->restorer); /* it does not have the token */
    return rc;
}

static int take_offer(struct keep *keep, struct blx_error *err)
{
    int rc = connect_to(keep, err);
    if (rc < 0)
        return rc;
    const struct blx_restore_offer *offer = blx_pull_get_offer(keep->pull);
    struct blx_manifest *manifest = &keep->manifest;
    manifest->volumes = calloc(offer->volume_count, sizeof(manifest->volumes[0]));
    if (manifest->volumes == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot open the checkpoint");
    manifest->timestamp = offer->checkpoint;
    manifest->volume_count = offer->volume_count;
    for (uint32_t i = 0; i < offer->volume_count; i++) {
        const struct blx_restore_volume *told = blx_pull_get_volume(keep->pull, i);
        struct blx_manifest_volume *volume = &manifest->volumes[i];
        blx_text_set(volume->name, told->name);
        blx_text_set(volume->device, told->device);
        volume->size_bytes = told->size_bytes;
        volume->block_shift = told->block_shift;
        volume->key_id = told->key_id;
    }
    return 0;
}

static int open_checkpoint(struct keep *keep, struct blx_error *err)
{
    int rc = keep->keeper->token != NULL ? take_offer(keep, err) : open_manifest(keep, err);
    if (rc < 0)
        return rc;
    if (keep->keeper->overlay_fd > 0)
        rc = blx_overlay_adopt(keep->keeper->overlay_fd, &keep->overlay, err);
    if (rc == 0 && keep->overlay != NULL)
        rc = blx_overlay_begin(keep->overlay, keep->keeper->config->agent, &keep->manifest, err);
    if (rc < 0)
        return rc;
    keep->cache = blx_frame_cache_new(BLX_FRAME_CACHE_DEFAULT_BYTES);
    keep->views = calloc(keep->manifest.volume_count + 1, sizeof(keep->views[0]));
    return keep->cache == NULL || keep->views == NULL
               ? blx_error_errno(err, -ENOMEM, "cannot open the checkpoint")
               : 0;
}

static int open_view(struct keep *keep, uint32_t volume, struct blx_error *err)
{
    if (keep->pull != NULL)
        return blx_pull_view_open(keep->pull, volume, keep->keeper->keys, keep->cache,
                                  &keep->views[volume], err);
    const struct blx_view_request request = {
        .agent = blx_store_agent(&keep->store, keep->keeper->config->agent),
        .checkpoint = keep->manifest.timestamp,
        .volume = keep->manifest.volumes[volume].name,
        .keys = keep->keeper->keys,
        .cache = keep->cache};
    return blx_view_open(&request, &keep->views[volume], err);
}

static int read_view(void *arg, void *buffer, size_t bytes, uint64_t offset_bytes)
{
    return blx_view_read(arg, buffer, bytes, offset_bytes, NULL);
}

static int add_disk(struct keep *keep, const struct files_disk *disk, const struct part *part,
                    struct blx_error *err)
{
    if (keep->disk_count == FILES_MAX_DISKS)
        return 0;
    if (blx_array_make_room(keep->disks, keep->disk_count) < 0 ||
        blx_array_make_room(keep->parts, keep->disk_count) < 0)
        return blx_error_errno(err, -ENOMEM, "cannot list the disks");
    keep->disks[keep->disk_count] = *disk;
    keep->parts[keep->disk_count++] = *part;
    return 0;
}

static const char *wanted_device(const struct keep *keep)
{
    const struct blx_config *config = keep->keeper->config;
    return config->device_count > 0 ? config->devices[0] : NULL;
}

enum choice { ONLY_WANTED, ALL };

struct found {
    struct keep *keep;
    struct part part; /* the volume */
    enum choice choice;
    struct blx_error *err;
};

static int take_found(void *arg, const struct files_disk *disk, unsigned number,
                      uint64_t offset_bytes)
{
    const struct found *found = arg;
    struct part part = found->part;
    (void)number;
    part.offset_bytes = offset_bytes;
    return disk->is_wanted || found->choice == ALL ? add_disk(found->keep, disk, &part, found->err)
                                                   : 0;
}

static int add_volume(struct keep *keep, uint32_t number, enum choice choice, struct blx_error *err)
{
    const struct blx_manifest_volume *volume = &keep->manifest.volumes[number];
    const struct files_disk_names names = {
        .device = volume->device, .name = volume->name, .wanted = wanted_device(keep)};
    struct found found = {.keep = keep,
                          .part = {.view = keep->views[number],
                                   .place = blx_overlay_place(&keep->manifest, number),
                                   .volume = number},
                          .choice = choice,
                          .err = err};
    const struct blx_partitioned disk = {
        .read = read_view, .arg = found.part.view, .size_bytes = volume->size_bytes};
    return files_disks_find(&disk, &names, take_found, &found);
}

/* A partition's device begins with its disk's. */
static bool may_be_wanted(const struct keep *keep, const struct blx_manifest_volume *volume)
{
    const char *wanted = wanted_device(keep);
    if (wanted == NULL)
        return true;
    const char *node = strncmp(wanted, "/dev/", 5) == 0 ? wanted + 5 : wanted;
    return strncmp(wanted, volume->device, strlen(volume->device)) == 0 ||
           strncmp(node, volume->name, strlen(volume->name)) == 0;
}

static int open_volumes(struct keep *keep, enum choice choice, struct blx_error *err)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < keep->manifest.volume_count; i++) {
        if (choice == ONLY_WANTED && !may_be_wanted(keep, &keep->manifest.volumes[i]))
            continue;
        if (keep->views[i] == NULL)
            rc = open_view(keep, i, err);
        if (rc == 0)
            rc = add_volume(keep, i, choice, err);
    }
    return rc;
}

static struct blx_overlay_below below_of(const struct part *part)
{
    return (struct blx_overlay_below){.read = read_view,
                                      .arg = part->view,
                                      .offset_bytes = part->place,
                                      .size_bytes = blx_view_size_bytes(part->view)};
}

/* A device that is none of the disks may lie on them, as a logical volume does. */
static int open_disks(struct keep *keep, struct blx_error *err)
{
    int rc = open_volumes(keep, ONLY_WANTED, err);
    if (rc == 0 && keep->disk_count == 0 && wanted_device(keep) != NULL)
        rc = open_volumes(keep, ALL, err);
    return rc == 0 && keep->disk_count == 0
               ? blx_error_set(err, -ENOENT, "the checkpoint has no disk")
               : rc;
}

static int read_disk(void *arg, uint32_t disk, void *buffer, size_t bytes, uint64_t offset_bytes,
                     struct blx_error *err)
{
    const struct keep *keep = arg;
    const struct part *part = &keep->parts[disk];
    offset_bytes += part->offset_bytes;
    if (keep->overlay == NULL)
        return blx_view_read(part->view, buffer, bytes, offset_bytes, err);
    const struct blx_overlay_below below = below_of(part);
    int rc = blx_overlay_read(keep->overlay, &below, buffer, bytes, offset_bytes);
    return rc < 0 ? blx_error_errno(err, rc, "cannot read '%s'", keep->disks[disk].device) : 0;
}

static int write_disk(void *arg, uint32_t disk, const void *data, size_t bytes,
                      uint64_t offset_bytes, struct blx_error *err)
{
    const struct keep *keep = arg;
    const struct part *part = &keep->parts[disk];
    const struct blx_overlay_below below = below_of(part);
    int rc =
        blx_overlay_write(keep->overlay, &below, data, bytes, part->offset_bytes + offset_bytes);
    return rc < 0 ? blx_error_errno(err, rc, "cannot write over '%s'", keep->disks[disk].device)
                  : 0;
}

/* A disk that the other checkpoint does not have is compared with nothing: NULL. */
static int open_differences(struct keep *keep, struct blx_error *err)
{
    const struct blx_config *config = keep->keeper->config;
    BLX_CLEANUP_MANIFEST struct blx_manifest other = {0};
    struct blx_agent_store agent = blx_store_agent(&keep->store, config->agent);
    blx_timestamp timestamp = 0;
    if (config->compare == NULL)
        return 0;
    keep->differences = calloc(keep->manifest.volume_count + 1, sizeof(keep->differences[0]));
    if (keep->differences == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot compare the checkpoints");
    int rc = blx_manifest_resolve(agent, config->compare, &timestamp, err);
    if (rc == 0 && timestamp == keep->manifest.timestamp)
        rc = blx_error_set(err, -EINVAL,
                           "--compare and --checkpoint are the same checkpoint, %llu: name another",
                           (unsigned long long)timestamp);
    if (rc == 0)
        rc = blx_manifest_read(agent, timestamp, &other, err);
    for (uint32_t i = 0; rc == 0 && i < keep->manifest.volume_count; i++) {
        const struct blx_difference_request request = {.agent = agent,
                                                       .checkpoint = keep->manifest.timestamp,
                                                       .other = timestamp,
                                                       .volume = keep->manifest.volumes[i].name};
        if (blx_manifest_has(&other, request.volume))
            rc = blx_difference_open(&request, &keep->differences[i], err);
    }
    return rc;
}

static int count_disk(void *arg, uint32_t disk, uint64_t bytes, uint64_t offset_bytes,
                      uint64_t *written_bytes, struct blx_error *err)
{
    const struct keep *keep = arg;
    const struct part *part = &keep->parts[disk];
    const struct blx_difference *difference = keep->differences[part->volume];
    if (difference == NULL)
        return blx_error_set(err, -ENOENT, "the other checkpoint does not have this disk");
    if (offset_bytes > keep->disks[disk].size_bytes)
        return blx_error_set(err, -ENXIO, "the filesystem reaches beyond its device");
    if (bytes > keep->disks[disk].size_bytes - offset_bytes)
        bytes = keep->disks[disk].size_bytes - offset_bytes;
    *written_bytes = blx_difference_count(difference, part->offset_bytes + offset_bytes, bytes);
    return 0;
}

static void note_full_passes(const struct keep *keep)
{
    char text[BLX_TEXT_BYTES];
    for (uint32_t i = 0; keep->differences != NULL && i < keep->manifest.volume_count; i++) {
        if (keep->differences[i] == NULL || !blx_difference_is_whole(keep->differences[i]))
            continue;
        snprintf(text, sizeof(text),
                 "a full pass of %.150s lies between: all that it sent counts as written",
                 keep->manifest.volumes[i].device);
        note(NULL, text);
    }
}

/* The parent reads as many bytes, which is less than a pipe writes in one piece. */
static void tell_parent(const struct files_keeper *keeper, const struct blx_error *err)
{
    while (write(keeper->ready_fd, err, sizeof(*err)) < 0 && errno == EINTR)
        ;
    close(keeper->ready_fd);
}

enum blx_exit files_keep(const struct files_keeper *keeper)
{
    struct keep keep = {.keeper = keeper, .store.lock_fd = -1};
    struct blx_error err = {0};
    blx_raise_file_limit(); /* a chain has many segments */
    int rc = open_checkpoint(&keep, &err);
    if (rc == 0)
        rc = open_disks(&keep, &err);
    if (rc == 0)
        rc = open_differences(&keep, &err);
    if (rc == 0)
        note_full_passes(&keep);
    tell_parent(keeper, &err);
    const struct files_answers answers = {.disks = keep.disks,
                                          .disk_count = keep.disk_count,
                                          .read = read_disk,
                                          .write = keep.overlay != NULL ? write_disk : NULL,
                                          .count = keep.differences != NULL ? count_disk : NULL,
                                          .arg = &keep};
    if (rc == 0)
        rc = files_answer(keeper->blocks_fd, &answers, &err);
    keep_done(&keep);
    return rc < 0 ? BLX_EXIT_FAILED : BLX_EXIT_OK;
}

int files_keeper_start(const struct files_keeper_start *start, pid_t *pid, int *ready_fd,
                       struct blx_error *err)
{
    struct blx_keyring keys = {0};
    int pipes[2];
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < start->config->key_count; i++)
        rc = blx_keyring_add(&keys, start->config->keys[i], err);
    if (rc == 0 && pipe2(pipes, O_CLOEXEC) != 0)
        rc = blx_error_errno(err, -errno, "cannot start the keeper of the store");
    if (rc < 0) {
        blx_keyring_done(&keys);
        return rc;
    }
    pid_t made = fork();
    if (made == 0) {
        const struct files_keeper keeper = {.config = start->config,
                                            .keys = &keys,
                                            .token = start->token,
                                            .ready_fd = pipes[1],
                                            .blocks_fd = start->blocks_fd,
                                            .overlay_fd = start->overlay_fd};
        close(pipes[0]);
        if (start->closed_fd >= 0)
            close(start->closed_fd);
        int code = (int)files_keep(&keeper);
        blx_keyring_done(&keys);
        _exit(code);
    }
    rc = made < 0 ? -errno : 0;
    close(pipes[1]);
    blx_keyring_done(&keys);
    *ready_fd = pipes[0];
    *pid = made > 0 ? made : 0;
    return rc < 0 ? blx_error_errno(err, rc, "cannot start the keeper of the store") : 0;
}

int files_keeper_await(int ready_fd, const volatile sig_atomic_t *stopped, struct blx_error *err)
{
    struct blx_error told;
    ssize_t got;
    do
        got = read(ready_fd, &told, sizeof(told));
    while (got < 0 && errno == EINTR && *stopped == 0);
    if (*stopped != 0)
        return -EINTR;
    if (got != (ssize_t)sizeof(told))
        return blx_error_set(err, -ECHILD, "the keeper of the store ended before it was ready");
    told.message[sizeof(told.message) - 1] = '\0';
    return told.code < 0 ? blx_error_copy(err, told.code, &told) : 0;
}
