/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/tree.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "store/view/partitions.h"
#include "store/checkpoint/manifest_file.h"

/* So many checkpoints that nobody uses stay open: a listing is followed by a read. */
enum { MAX_IDLE = 2 };

struct volume {
    char name[BLX_NAME_BYTES];
    uint64_t size_bytes;
    uint64_t overlay_offset; /* where it begins in the overlay */
    struct blx_view *view;   /* owned; NULL: closed, or it cannot be read */
};

/*
 *     CLOSED ──get──► OPEN ──nobody uses it──► CLOSED; the files stay known
 *
 * `lock` guards what is not constant. Whoever has got the checkpoint reads its views without it.
 */
struct mount_checkpoint {
    struct mount_tree *tree; /* constant */
    blx_timestamp timestamp; /* constant */
    pthread_mutex_t lock;
    bool open;
    unsigned users;
    uint64_t used_ns;       /* when the last one let go */
    struct volume *volumes; /* owned; constant once they are known */
    size_t volume_count;
    struct mount_file *files; /* owned; constant once they are known */
    atomic_size_t file_count; /* 0: not known yet */
};

struct mount_tree {
    struct mount_tree_config config;       /* constant */
    struct blx_frame_cache *cache;         /* constant */
    pthread_mutex_t lock;                  /* taken before a checkpoint's; guards what follows */
    struct mount_checkpoint **checkpoints; /* owned; none ever goes */
    size_t count;
};

int mount_tree_new(const struct mount_tree_config *config, struct mount_tree **tree,
                   struct blx_error *err)
{
    struct mount_tree *made = calloc(1, sizeof(*made));
    struct blx_frame_cache *cache = blx_frame_cache_new(config->cache_bytes);
    if (made == NULL || cache == NULL) {
        free(made);
        blx_frame_cache_free(cache);
        return blx_error_errno(err, -ENOMEM, "cannot mount '%s'", config->agent.id);
    }
    made->config = *config;
    made->cache = cache;
    pthread_mutex_init(&made->lock, NULL);
    *tree = made;
    return 0;
}

static void close_views(struct mount_checkpoint *checkpoint)
{
    for (size_t i = 0; i < checkpoint->volume_count; i++) {
        blx_view_close(checkpoint->volumes[i].view);
        checkpoint->volumes[i].view = NULL;
    }
    checkpoint->open = false;
}

static void checkpoint_free(struct mount_checkpoint *checkpoint)
{
    close_views(checkpoint);
    free(checkpoint->volumes);
    free(checkpoint->files);
    pthread_mutex_destroy(&checkpoint->lock);
    free(checkpoint);
}

void mount_tree_free(struct mount_tree *tree)
{
    if (tree == NULL)
        return;
    for (size_t i = 0; i < tree->count; i++)
        checkpoint_free(tree->checkpoints[i]);
    free(tree->checkpoints);
    blx_frame_cache_free(tree->cache);
    blx_overlay_close(tree->config.overlay);
    pthread_mutex_destroy(&tree->lock);
    free(tree);
}

int mount_tree_list(struct mount_tree *tree, blx_timestamp **timestamps, size_t *count,
                    struct blx_error *err)
{
    blx_timestamp only = tree->config.only;
    return blx_manifest_list(tree->config.agent, only, only != 0 ? only : UINT64_MAX, timestamps,
                             count, err);
}

blx_timestamp mount_tree_latest(struct mount_tree *tree)
{
    BLX_CLEANUP_FREE blx_timestamp *all = NULL;
    size_t count = 0;
    if (mount_tree_list(tree, &all, &count, NULL) < 0)
        return 0;
    return count > 0 ? all[count - 1] : 0;
}

static int add_locked(struct mount_tree *tree, blx_timestamp timestamp)
{
    struct mount_checkpoint *made = calloc(1, sizeof(*made));
    if (made == NULL || blx_array_make_room(tree->checkpoints, tree->count) < 0) {
        free(made);
        return -ENOMEM;
    }
    made->tree = tree;
    made->timestamp = timestamp;
    pthread_mutex_init(&made->lock, NULL);
    tree->checkpoints[tree->count++] = made;
    return 0;
}

int mount_tree_find(struct mount_tree *tree, blx_timestamp timestamp, uint64_t *number)
{
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
    if (tree->config.only != 0 && timestamp != tree->config.only)
        return -ENOENT;
    int rc = blx_manifest_read(tree->config.agent, timestamp, &manifest, NULL);
    if (rc == -ENOENT)
        return rc;
    pthread_mutex_lock(&tree->lock);
    size_t at = 0;
    while (at < tree->count && tree->checkpoints[at]->timestamp != timestamp)
        at++;
    rc = at < tree->count ? 0 : add_locked(tree, timestamp);
    pthread_mutex_unlock(&tree->lock);
    if (rc == 0)
        *number = at;
    return rc;
}

struct mount_checkpoint *mount_tree_at(struct mount_tree *tree, uint64_t number)
{
    pthread_mutex_lock(&tree->lock);
    struct mount_checkpoint *checkpoint = number < tree->count ? tree->checkpoints[number] : NULL;
    pthread_mutex_unlock(&tree->lock);
    return checkpoint;
}

blx_timestamp mount_checkpoint_timestamp(const struct mount_checkpoint *checkpoint)
{
    return checkpoint->timestamp;
}

/* -EIO in place of errors that mean something else to whoever reads a file. */
static int error_of_file(int rc)
{
    return rc == -EBADMSG || rc == -ENOKEY || rc == -ENODATA ? -EIO : rc;
}

static int told(const struct mount_checkpoint *checkpoint, int rc, const struct blx_error *cause)
{
    if (rc < 0 && rc != -ENOMEM)
        blx_log_error("checkpoint %llu: %s", (unsigned long long)checkpoint->timestamp,
                      cause->message);
    return error_of_file(rc);
}

static int read_volume(void *arg, void *buffer, size_t bytes, uint64_t offset_bytes)
{
    struct volume *volume = arg;
    return blx_view_read(volume->view, buffer, bytes, offset_bytes, NULL);
}

static bool has_file(const struct mount_checkpoint *checkpoint, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(checkpoint->files[i].name, name) == 0)
            return true;
    return false;
}

/* A volume of that name comes before a partition. */
static int add_partitions(struct mount_checkpoint *checkpoint, uint32_t at, size_t *count)
{
    struct volume *volume = &checkpoint->volumes[at];
    struct blx_partition found[BLX_MAX_PARTITIONS];
    const struct blx_partitioned disk = {
        .read = read_volume, .arg = volume, .size_bytes = volume->size_bytes};
    int partitions = volume->view != NULL ? blx_partitions_find(&disk, found) : 0;
    for (int i = 0; i < partitions && *count < MOUNT_MAX_FILES; i++) {
        struct mount_file file = {
            .volume = at, .offset_bytes = found[i].offset_bytes, .bytes = found[i].bytes};
        char name[MOUNT_FILE_NAME_BYTES - sizeof(".img") + 1];
        blx_partition_name(volume->name, found[i].number, name, sizeof(name));
        snprintf(file.name, sizeof(file.name), "%s.img", name);
        if (has_file(checkpoint, *count, file.name))
            continue;
        if (blx_array_make_room(checkpoint->files, *count) < 0)
            return -ENOMEM;
        checkpoint->files[(*count)++] = file;
    }
    return 0;
}

/* The first time it is opened. A table that cannot be read has no partitions. */
static int list_files(struct mount_checkpoint *checkpoint)
{
    size_t count = 0;
    int rc = 0;
    for (uint32_t i = 0; i < checkpoint->volume_count; i++) {
        struct mount_file file = {.volume = i, .bytes = checkpoint->volumes[i].size_bytes};
        snprintf(file.name, sizeof(file.name), "%s.img", checkpoint->volumes[i].name);
        if (blx_array_make_room(checkpoint->files, count) < 0)
            return -ENOMEM;
        checkpoint->files[count++] = file;
    }
    for (uint32_t i = 0; rc == 0 && i < checkpoint->volume_count; i++)
        rc = add_partitions(checkpoint, i, &count);
    if (rc == 0)
        checkpoint->file_count = count;
    return rc;
}

static int list_volumes(struct mount_checkpoint *checkpoint, struct blx_error *err)
{
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
    struct mount_tree *tree = checkpoint->tree;
    int rc = blx_manifest_read(tree->config.agent, checkpoint->timestamp, &manifest, err);
    if (rc < 0)
        return rc;
    struct volume *volumes = calloc(manifest.volume_count + 1, sizeof(volumes[0]));
    if (volumes == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot open a checkpoint");
    for (uint32_t i = 0; i < manifest.volume_count; i++) {
        memcpy(volumes[i].name, manifest.volumes[i].name, sizeof(volumes[i].name));
        volumes[i].size_bytes = manifest.volumes[i].size_bytes;
        volumes[i].overlay_offset = blx_overlay_place(&manifest, i);
    }
    if (tree->config.overlay != NULL)
        rc = blx_overlay_begin(tree->config.overlay, tree->config.agent.id, &manifest, err);
    if (rc < 0) {
        free(volumes);
        return rc;
    }
    checkpoint->volumes = volumes;
    checkpoint->volume_count = manifest.volume_count;
    return 0;
}

/* All volumes that can be opened; the error of the first one that cannot if that is none. */
static int open_views(struct mount_checkpoint *checkpoint, struct blx_error *err)
{
    struct mount_tree *tree = checkpoint->tree;
    int failure = 0;
    for (size_t i = 0; i < checkpoint->volume_count; i++) {
        struct blx_error cause = {0};
        const struct blx_view_request request = {.agent = tree->config.agent,
                                                 .checkpoint = checkpoint->timestamp,
                                                 .volume = checkpoint->volumes[i].name,
                                                 .keys = tree->config.keys,
                                                 .cache = tree->cache};
        int rc = blx_view_open(&request, &checkpoint->volumes[i].view, &cause);
        checkpoint->open = checkpoint->open || rc == 0;
        if (rc < 0 && failure == 0)
            failure = blx_error_copy(err, rc, &cause);
        if (rc < 0 && checkpoint->volume_count > 1)
            told(checkpoint, rc, &cause);
    }
    return checkpoint->open ? 0 : failure;
}

static int open_locked(struct mount_checkpoint *checkpoint, struct blx_error *err)
{
    int rc = checkpoint->volumes == NULL ? list_volumes(checkpoint, err) : 0;
    if (rc == 0)
        rc = open_views(checkpoint, err);
    if (rc == 0 && checkpoint->file_count == 0)
        rc = list_files(checkpoint);
    if (rc < 0)
        close_views(checkpoint);
    return rc;
}

int mount_checkpoint_get(struct mount_checkpoint *checkpoint, struct blx_error *err)
{
    struct blx_error cause = {0};
    pthread_mutex_lock(&checkpoint->lock);
    int rc = checkpoint->open ? 0 : open_locked(checkpoint, &cause);
    if (rc == 0)
        checkpoint->users++;
    pthread_mutex_unlock(&checkpoint->lock);
    if (rc < 0 && err != NULL)
        return blx_error_copy(err, rc, &cause);
    return rc < 0 ? told(checkpoint, rc, &cause) : 0;
}

/* One that is being opened is not, and nobody waits for it here. */
static bool is_idle(struct mount_checkpoint *checkpoint, uint64_t *used_ns)
{
    if (pthread_mutex_trylock(&checkpoint->lock) != 0)
        return false;
    bool idle = checkpoint->open && checkpoint->users == 0;
    *used_ns = checkpoint->used_ns;
    pthread_mutex_unlock(&checkpoint->lock);
    return idle;
}

static void close_if_idle(struct mount_checkpoint *checkpoint)
{
    pthread_mutex_lock(&checkpoint->lock);
    if (checkpoint->users == 0)
        close_views(checkpoint);
    pthread_mutex_unlock(&checkpoint->lock);
}

/* All but the last few that nobody uses. */
static void close_many(struct mount_tree *tree)
{
    struct mount_checkpoint *oldest;
    size_t idle;
    pthread_mutex_lock(&tree->lock);
    do {
        uint64_t oldest_ns = UINT64_MAX;
        oldest = NULL;
        idle = 0;
        for (size_t i = 0; i < tree->count; i++) {
            uint64_t used_ns;
            if (!is_idle(tree->checkpoints[i], &used_ns))
                continue;
            idle++;
            if (used_ns < oldest_ns) {
                oldest = tree->checkpoints[i];
                oldest_ns = used_ns;
            }
        }
        if (idle > MAX_IDLE)
            close_if_idle(oldest);
    } while (idle > MAX_IDLE);
    pthread_mutex_unlock(&tree->lock);
}

void mount_checkpoint_put(struct mount_checkpoint *checkpoint)
{
    pthread_mutex_lock(&checkpoint->lock);
    bool last = --checkpoint->users == 0;
    checkpoint->used_ns = blx_clock_ns();
    pthread_mutex_unlock(&checkpoint->lock);
    if (last)
        close_many(checkpoint->tree);
}

void mount_tree_close_idle(struct mount_tree *tree, uint64_t since_ns)
{
    pthread_mutex_lock(&tree->lock);
    for (size_t i = 0; i < tree->count; i++) {
        uint64_t used_ns;
        if (is_idle(tree->checkpoints[i], &used_ns) && used_ns < since_ns)
            close_if_idle(tree->checkpoints[i]);
    }
    pthread_mutex_unlock(&tree->lock);
}

size_t mount_checkpoint_count(const struct mount_checkpoint *checkpoint)
{
    return checkpoint->file_count;
}

const struct mount_file *mount_checkpoint_file(const struct mount_checkpoint *checkpoint, size_t at)
{
    return at < checkpoint->file_count ? &checkpoint->files[at] : NULL;
}

struct reading {
    struct mount_checkpoint *checkpoint;
    struct volume *volume;
    struct blx_sweep *sweep; /* or NULL */
};

static int read_view(void *arg, void *buffer, size_t bytes, uint64_t offset_bytes)
{
    const struct reading *reading = arg;
    struct blx_error cause = {0};
    if (reading->volume->view == NULL)
        return -EIO;
    int rc = reading->sweep != NULL
                 ? blx_sweep_read(reading->sweep, buffer, bytes, offset_bytes, &cause)
                 : blx_view_read(reading->volume->view, buffer, bytes, offset_bytes, &cause);
    return told(reading->checkpoint, rc, &cause);
}

static struct blx_overlay_below below_of(struct reading *reading)
{
    return (struct blx_overlay_below){.read = read_view,
                                      .arg = reading,
                                      .offset_bytes = reading->volume->overlay_offset,
                                      .size_bytes = reading->volume->size_bytes};
}

struct blx_sweep *mount_file_new_sweep(struct mount_checkpoint *checkpoint,
                                       const struct mount_file *file)
{
    struct blx_view *view = checkpoint->volumes[file->volume].view;
    return view != NULL ? blx_sweep_new(view) : NULL;
}

int mount_file_read(struct mount_checkpoint *checkpoint, const struct mount_file *file,
                    struct blx_sweep *sweep, void *buffer, size_t bytes, uint64_t offset_bytes)
{
    struct blx_overlay *overlay = checkpoint->tree->config.overlay;
    struct reading reading = {checkpoint, &checkpoint->volumes[file->volume], sweep};
    struct blx_overlay_below below = below_of(&reading);
    uint64_t offset = file->offset_bytes + offset_bytes;
    return overlay != NULL ? blx_overlay_read(overlay, &below, buffer, bytes, offset)
                           : read_view(&reading, buffer, bytes, offset);
}

int mount_file_write(struct mount_checkpoint *checkpoint, const struct mount_file *file,
                     const void *buffer, size_t bytes, uint64_t offset_bytes)
{
    struct blx_overlay *overlay = checkpoint->tree->config.overlay;
    struct reading reading = {.checkpoint = checkpoint,
                              .volume = &checkpoint->volumes[file->volume]};
    struct blx_overlay_below below = below_of(&reading);
    if (overlay == NULL)
        return -EROFS;
    return blx_overlay_write(overlay, &below, buffer, bytes, file->offset_bytes + offset_bytes);
}

int mount_file_find_extent(struct mount_checkpoint *checkpoint, const struct mount_file *file,
                           uint64_t offset_bytes, struct blx_view_extent *extent)
{
    struct volume *volume = &checkpoint->volumes[file->volume];
    struct blx_error cause = {0};
    if (volume->view == NULL)
        return -EIO;
    int rc = blx_view_find_extent(volume->view, file->offset_bytes + offset_bytes, extent, &cause);
    return told(checkpoint, rc, &cause);
}

void mount_file_read_ahead(struct mount_checkpoint *checkpoint, const struct mount_file *file,
                           uint64_t bytes, uint64_t offset_bytes)
{
    struct volume *volume = &checkpoint->volumes[file->volume];
    if (volume->view != NULL)
        blx_view_read_ahead(volume->view, bytes, file->offset_bytes + offset_bytes);
}

int mount_tree_sync(struct mount_tree *tree)
{
    return tree->config.overlay != NULL ? blx_overlay_sync(tree->config.overlay) : 0;
}
