/* SPDX-License-Identifier: Apache-2.0 */
/* Frees the space of dead frames: makes holes in segments that stay, and unlinks the others. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "store/checkpoint/manifest_file.h"
#include "store/directory_private.h"
#include "store/layout_private.h"
#include "store/checkpoint/needed_private.h"
#include "store/prune/prune_agent_private.h"
#include "store/prune/rewrite_group_private.h"
#include "store/segment/segment.h"

/* What a filesystem gives back at once; a dead range without a whole one is not worth a call. */
enum { PAGE_BYTES = 4096 };

/* A segment whose dead frames become holes. */
struct clearing {
    const struct blx_prune_agent *agent;
    const char *dir;
    const char *path; /* of the segment */
    int fd;
    bool changed; /* it is to be flushed */
};

static uint64_t used_bytes(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

/* 1: all of it is zero; 0; -errno. At most a page. */
static int is_zero(int fd, uint64_t offset, uint64_t bytes)
{
    uint8_t buffer[PAGE_BYTES];
    int rc = blx_pread_full(fd, buffer, (size_t)bytes, offset);
    for (uint64_t i = 0; rc == 0 && i < bytes; i++)
        if (buffer[i] != 0)
            return 0;
    return rc < 0 ? rc : 1;
}

/* Whether an earlier prune made a hole of it: its whole pages are one, and the edges are zero. */
static int is_hole(int fd, uint64_t start, uint64_t end)
{
    uint64_t first = (start + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    uint64_t last = end / PAGE_BYTES * PAGE_BYTES;
    off_t data = lseek(fd, (off_t)first, SEEK_DATA);
    if (data < 0 && errno != ENXIO)
        return 0; /* the filesystem does not say it */
    if (data >= 0 && (uint64_t)data < last)
        return 0;
    int rc = is_zero(fd, start, first - start);
    return rc == 1 ? is_zero(fd, last, end - last) : rc;
}

static int make_hole(struct clearing *clearing, uint64_t start, uint64_t end, struct blx_error *err)
{
    if (end / PAGE_BYTES <= (start + PAGE_BYTES - 1) / PAGE_BYTES)
        return 0;
    int rc = is_hole(clearing->fd, start, end);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot read '%s'", clearing->path);
    if (rc == 1) /* whoever made it may have died before it was durable */
        clearing->changed = clearing->changed || clearing->agent->was_cut_off;
    if (rc == 1 || clearing->agent->report->no_holes)
        return 0;
    clearing->changed = true;
    if (blx_sys->fallocate(clearing->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)start,
                           (off_t)(end - start)) == 0)
        return 0;
    if (errno != EOPNOTSUPP && errno != ENOSYS)
        return blx_error_errno(err, -errno, "cannot make a hole in '%s'", clearing->path);
    clearing->agent->report->no_holes = true;
    return 0;
}

static int make_holes(struct clearing *clearing, const struct blx_needed_segment *segment,
                      struct blx_error *err)
{
    uint64_t at = sizeof(struct blx_segment_header_disk);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < segment->frame_count; i++) {
        rc = make_hole(clearing, at, segment->frames[i].offset_bytes, err);
        at = segment->frames[i].offset_bytes + segment->frames[i].bytes;
    }
    return rc == 0 ? make_hole(clearing, at, segment->frames_end_bytes, err) : rc;
}

static int clear_segment(void *arg, const struct blx_needed_segment *segment, struct blx_error *err)
{
    struct clearing *clearing = arg;
    char path[PATH_MAX];
    int rc = blx_segment_path(clearing->dir, segment->number, path, err);
    if (rc < 0)
        return rc;
    BLX_CLEANUP_FD int fd = blx_open(path, O_RDWR | O_NOFOLLOW, 0, err);
    if (fd < 0)
        return fd;
    uint64_t before = used_bytes(fd);
    clearing->fd = fd;
    clearing->path = path;
    clearing->changed = false;
    rc = make_holes(clearing, segment, err);
    if (rc < 0 || !clearing->changed)
        return rc;
    if (blx_sys->fsync(fd) != 0)
        return blx_error_errno(err, -errno, "cannot write '%s'", path);
    uint64_t after = used_bytes(fd);
    clearing->agent->report->freed_bytes += before > after ? before - after : 0;
    return 0;
}

bool blx_prune_is_shared(const struct blx_prune_agent *agent, size_t keeper, const char *name)
{
    const struct blx_manifest_volume *own =
        blx_manifest_find(&agent->checkpoints[keeper].manifest, name);
    for (size_t i = 0; i < agent->count; i++) {
        const struct blx_manifest_volume *other =
            i == keeper || agent->checkpoints[i].gone
                ? NULL
                : blx_manifest_find(&agent->checkpoints[i].manifest, name);
        uint32_t a = 0, b = 0;
        while (other != NULL && a < own->segment_count && b < other->segment_count) {
            if (own->segments[a] == other->segments[b])
                return true;
            if (own->segments[a] < other->segments[b])
                a++;
            else
                b++;
        }
    }
    return false;
}

int blx_prune_clear(struct blx_prune_agent *agent, size_t keeper, struct blx_error *err)
{
    struct blx_manifest *manifest = &agent->checkpoints[keeper].manifest;
    bool cleared = false;
    for (uint32_t i = 0; i < blx_manifest_count_entries(manifest); i++) {
        char dir[PATH_MAX];
        struct blx_manifest_volume *volume = &manifest->volumes[i];
        struct clearing clearing = {.agent = agent, .dir = dir};
        if (!volume->clearing || blx_prune_is_shared(agent, keeper, volume->name))
            continue;
        int rc = blx_agent_store_volume_path(agent->store, volume->name, dir, err);
        if (rc == 0)
            rc = blx_needed_find(dir, volume, clear_segment, &clearing, NULL, err);
        if (rc < 0)
            return rc;
        volume->clearing = false;
        cleared = true;
    }
    return cleared ? blx_manifest_replace(agent->store, manifest, err) : 0;
}

/* A volume's folder, from which segments that no manifest names are unlinked. */
struct sweep {
    struct blx_prune_agent *agent;
    char dir[PATH_MAX];
    uint32_t *named; /* owned; ascending */
    size_t count;
    uint32_t next_segment; /* from here on they belong to later checkpoints */
    bool changed;
};

static void sweep_done(struct sweep *sweep)
{
    free(sweep->named);
}

static int compare_numbers(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static int name_all(struct sweep *sweep, const char *volume)
{
    const struct blx_prune_agent *agent = sweep->agent;
    for (size_t i = 0; i < agent->count; i++) {
        const struct blx_manifest_volume *found =
            blx_manifest_find(&agent->checkpoints[i].manifest, volume);
        if (found == NULL)
            continue;
        /* Those of one that is gone count: it may have been the last that had the volume. */
        if (found->next_segment > sweep->next_segment)
            sweep->next_segment = found->next_segment;
        if (agent->checkpoints[i].gone)
            continue;
        uint32_t *grown =
            reallocarray(sweep->named, sweep->count + found->segment_count + 1, sizeof(grown[0]));
        if (grown == NULL)
            return -ENOMEM;
        sweep->named = grown;
        for (uint32_t s = 0; s < found->segment_count; s++)
            grown[sweep->count++] = found->segments[s];
    }
    if (sweep->count > 0)
        qsort(sweep->named, sweep->count, sizeof(sweep->named[0]), compare_numbers);
    return 0;
}

static bool is_named(const struct sweep *sweep, uint32_t number)
{
    return sweep->count > 0 &&
           bsearch(&number, sweep->named, sweep->count, sizeof(number), compare_numbers) != NULL;
}

static int visit_file(void *arg, const char *name, struct blx_error *err)
{
    struct sweep *sweep = arg;
    char path[PATH_MAX];
    struct stat st;
    uint32_t number = blx_segment_number(name);
    /* Nobody rewrites meanwhile. */
    bool left = strcmp(name, BLX_REWRITE_NAME) == 0 || strcmp(name, BLX_REWRITE_DIGESTS_NAME) == 0;
    if (!left && (number == 0 || number >= sweep->next_segment || is_named(sweep, number)))
        return 0;
    int rc = left ? blx_path_format(path, sizeof(path), err, "%s/%s", sweep->dir, name)
                  : blx_segment_path(sweep->dir, number, path, err);
    if (rc < 0)
        return rc;
    uint64_t bytes = lstat(path, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
    if (blx_sys->unlink(path) != 0)
        return blx_error_errno(err, -errno, "cannot remove '%s'", path);
    sweep->agent->report->freed_bytes += bytes;
    sweep->changed = true;
    return 0;
}

/* A volume that no manifest has had has no committed segment: prune_orphans.c knows about it. */
static int sweep_volume(void *arg, const char *volume, struct blx_error *err)
{
    struct blx_prune_agent *agent = arg;
    BLX_CLEANUP(sweep_done) struct sweep sweep = {.agent = agent};
    if (blx_agent_store_volume_path(agent->store, volume, sweep.dir, NULL) < 0)
        return 0; /* no volume's name */
    if (name_all(&sweep, volume) < 0)
        return blx_error_errno(err, -ENOMEM, "cannot prune the agent '%s'", agent->store.id);
    if (sweep.next_segment == 0)
        return 0;
    int rc = blx_directory_each(sweep.dir, visit_file, &sweep, err);
    return rc == 0 && sweep.changed ? blx_fsync_dir(sweep.dir, err) : rc;
}

int blx_prune_unlink(struct blx_prune_agent *agent, struct blx_error *err)
{
    char dir[PATH_MAX];
    int rc = blx_agent_store_volume_path(agent->store, NULL, dir, err);
    return rc == 0 ? blx_directory_each(dir, sweep_volume, agent, err) : rc;
}
