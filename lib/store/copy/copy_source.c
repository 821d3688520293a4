/* SPDX-License-Identifier: Apache-2.0 */
#include "store/copy/copy_source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "store/agent_lock.h"
#include "store/checkpoint/manifest_file.h"
#include "store/checkpoint/needed_private.h"
#include "store/damage_private.h"
#include "store/digest_key.h"
#include "store/prune/rewrite_group_private.h"
#include "store/view/chain_private.h"

enum { COPIES_WAIT_MS = 2000 };

/* A segment from here on is an object of its own, if all of it is needed. */
#define LARGE_BYTES (UINT64_C(64) << 20)

/* An object from here on is never given up. */
#define LASTING_BYTES (UINT64_C(512) << 20)

/* A chain's segments. */
struct numbers {
    uint32_t *all; /* owned; ascending */
    uint32_t count;
};

struct blx_copy_source {
    struct blx_agent_store agent;
    struct blx_agent_lock lock;
    struct blx_manifest manifest;
    struct numbers *chains; /* owned; of each of its entries */
};

static uint32_t count_entries(const struct blx_copy_source *source)
{
    return source->chains == NULL ? 0 : blx_manifest_count_entries(&source->manifest);
}

void blx_copy_source_close(struct blx_copy_source *source)
{
    if (source == NULL)
        return;
    for (uint32_t i = 0; i < count_entries(source); i++)
        free(source->chains[i].all);
    free(source->chains);
    blx_manifest_done(&source->manifest);
    blx_agent_lock_close(&source->lock);
    free(source);
}

const struct blx_manifest *blx_copy_source_manifest(const struct blx_copy_source *source)
{
    return &source->manifest;
}

static int no_memory(struct blx_error *err)
{
    return blx_error_errno(err, -ENOMEM, "cannot copy the checkpoint");
}

/* The chain's segments in ascending order. */
static int take_chain(const struct blx_chain *chain, struct numbers *numbers, struct blx_error *err)
{
    numbers->all = calloc(chain->segment_count + 1, sizeof(numbers->all[0]));
    if (numbers->all == NULL)
        return no_memory(err);
    for (size_t i = chain->segment_count; i > 0; i--) {
        uint32_t number = chain->segments[i - 1].number;
        if (numbers->count > 0 && number <= numbers->all[numbers->count - 1])
            return blx_error_set(err, -EBADMSG,
                                 "the chain's segments are not in order at segment %u", number);
        numbers->all[numbers->count++] = number;
    }
    return 0;
}

static int walk_chains(struct blx_copy_source *source, struct blx_error *err)
{
    uint32_t count = blx_manifest_count_entries(&source->manifest);
    source->chains = calloc(count, sizeof(source->chains[0]));
    if (source->chains == NULL)
        return no_memory(err);
    for (uint32_t i = 0; i < count; i++) {
        BLX_CLEANUP(blx_chain_done) struct blx_chain chain = {0};
        int rc = blx_chain_walk(source->agent, source->manifest.timestamp,
                                source->manifest.volumes[i].name, BLX_CHAIN_WHOLE, &chain, err);
        if (rc == 0)
            rc = take_chain(&chain, &source->chains[i], err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int hold(struct blx_copy_source *source, blx_timestamp checkpoint, struct blx_error *err)
{
    int rc = blx_agent_store_check(source->agent, err);
    if (rc == 0)
        rc = blx_agent_lock_open(source->agent, &source->lock, err);
    if (rc == 0)
        rc = blx_agent_lock_alone(&source->lock, BLX_LOCK_COPIES, COPIES_WAIT_MS, err);
    if (rc == 0)
        rc = blx_agent_lock_share(&source->lock, BLX_LOCK_CHAINS, err);
    if (rc == 0)
        rc = blx_agent_lock_hold(&source->lock, checkpoint, err);
    return rc;
}

int blx_copy_source_open(struct blx_agent_store agent, blx_timestamp checkpoint,
                         struct blx_copy_source **source, struct blx_error *err)
{
    struct blx_copy_source *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return no_memory(err);
    made->agent = agent;
    made->lock.fd = -1;
    int rc = hold(made, checkpoint, err);
    if (rc == 0)
        rc = blx_manifest_read(agent, checkpoint, &made->manifest, err);
    if (rc == 0)
        rc = walk_chains(made, err);
    if (rc < 0) {
        blx_copy_source_close(made);
        return rc;
    }
    blx_agent_lock_release(&made->lock, BLX_LOCK_CHAINS);
    *source = made;
    return 0;
}

/* The place of the first segment of that number or above. */
static uint32_t find_from(const struct numbers *numbers, uint32_t from)
{
    uint32_t low = 0, high = numbers->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (numbers->all[middle] < from)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* What the files of the segments [first, end) take. */
static int sum_bytes(const char *dir, const struct numbers *numbers, uint32_t first, uint32_t end,
                     uint64_t *bytes, struct blx_error *err)
{
    for (uint32_t i = first; i < end; i++) {
        char path[PATH_MAX];
        struct stat st;
        int rc = blx_segment_path(dir, numbers->all[i], path, err);
        if (rc < 0)
            return rc;
        if (stat(path, &st) != 0)
            return blx_error_errno(err, blx_missing_is_damage(-errno), "cannot read '%s'", path);
        *bytes += (uint64_t)st.st_size;
    }
    return 0;
}

int blx_copy_source_keep(const struct blx_copy_source *source, uint32_t entry,
                         const struct blx_copy_before *before, size_t *keep, uint32_t *from,
                         struct blx_error *err)
{
    const struct numbers *numbers = &source->chains[entry];
    char dir[PATH_MAX];
    uint64_t bytes = 0;
    size_t count = before->count;
    uint32_t end = numbers->count, first = find_from(numbers, before->next);
    int rc =
        blx_agent_store_volume_path(source->agent, source->manifest.volumes[entry].name, dir, err);
    *from = before->next;
    if (rc == 0)
        rc = sum_bytes(dir, numbers, first, end, &bytes, err);
    while (rc == 0 && first < end && first > 0 && count > 0 &&
           before->objects[count - 1].bytes < LASTING_BYTES &&
           before->objects[count - 1].bytes <= bytes) {
        count--;
        *from = count > 0 ? before->numbers[count - 1] + 1 : 0;
        end = first;
        first = find_from(numbers, *from);
        rc = sum_bytes(dir, numbers, first, end, &bytes, err);
        end = numbers->count;
    }
    if (first == 0) { /* all of the chain came after them */
        count = 0;
        *from = 0;
    }
    *keep = count;
    return rc;
}

/* A walk over an entry's segments. */
struct walk {
    const struct blx_copy_source *source;
    const struct blx_manifest_volume *volume;
    char dir[PATH_MAX];
    struct blx_rewrite_group group; /* the segments that become one file */
    bool is_whole;                  /* every frame of the group's is needed */
    blx_copy_visit *visit;
    void *arg;
};

static int go_on(void *arg, uint64_t bytes, struct blx_error *err)
{
    (void)arg, (void)bytes, (void)err;
    return 0;
}

static int visit_fd(const struct walk *walk, uint32_t number, int fd, struct blx_error *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return blx_error_errno(err, -errno, "cannot read segment %u in '%s'", number, walk->dir);
    return walk->visit(walk->arg, number, fd, (uint64_t)st.st_size, err);
}

static int visit_file(const struct walk *walk, uint32_t number, struct blx_error *err)
{
    char path[PATH_MAX];
    int rc = blx_segment_path(walk->dir, number, path, err);
    if (rc < 0)
        return rc;
    BLX_CLEANUP_FD int fd = blx_open(path, O_RDONLY | O_NOFOLLOW, 0, err);
    return fd < 0 ? fd : visit_fd(walk, number, fd, err);
}

/* One file of the group's needed frames, which loses its name at once. */
static int visit_merged(const struct walk *walk, struct blx_error *err)
{
    struct blx_volume_key key = {0};
    struct blx_segment_writer *made = NULL;
    int rc = blx_digest_key_find(walk->source->agent, walk->volume->name, &key, NULL);
    if (rc < 0 && rc != -EBADMSG)
        return blx_error_errno(err, rc, "cannot copy segments of '%s'", walk->dir);
    rc = blx_rewrite_group_copy(&walk->group, walk->dir, BLX_COPY_NAME, walk->volume->block_shift,
                                rc == 1 ? &key : NULL, go_on, NULL, &made, err);
    blx_volume_key_wipe(&key);
    if (rc < 0)
        return rc;
    if (blx_sys->unlink(made->path) != 0)
        rc = blx_error_errno(err, -errno, "cannot remove '%s'", made->path);
    if (rc == 0)
        rc = visit_fd(walk, walk->group.pieces[0].number, made->fd, err);
    blx_segment_writer_close(made);
    return rc;
}

static int end_group(struct walk *walk, struct blx_error *err)
{
    int rc = 0;
    if (walk->group.count == 1 && walk->is_whole)
        rc = visit_file(walk, walk->group.pieces[0].number, err);
    else if (walk->group.count > 0)
        rc = visit_merged(walk, err);
    blx_rewrite_group_clear(&walk->group);
    walk->is_whole = true;
    return rc;
}

static int make_piece(const struct blx_needed_segment *segment, uint64_t file_bytes,
                      struct blx_rewrite_piece *piece, struct blx_error *err)
{
    size_t bytes = segment->frame_count * sizeof(segment->frames[0]);
    *piece = (struct blx_rewrite_piece){.number = segment->number,
                                        .file_bytes = file_bytes,
                                        .used_bytes = file_bytes,
                                        .needed_bytes = segment->bytes,
                                        .entries = segment->entries,
                                        .digests = segment->data_blocks,
                                        .frame_count = segment->frame_count,
                                        .frames = malloc(bytes)};
    if (piece->frames == NULL)
        return no_memory(err);
    memcpy(piece->frames, segment->frames, bytes);
    return 0;
}

static int consider(void *arg, const struct blx_needed_segment *segment, struct blx_error *err)
{
    struct walk *walk = arg;
    struct numbers one = {.all = &(uint32_t){segment->number}, .count = 1};
    struct blx_rewrite_piece piece;
    uint64_t file_bytes = 0;
    if (segment->frame_count == 0)
        return 0;
    int rc = sum_bytes(walk->dir, &one, 0, 1, &file_bytes, err);
    if (rc < 0)
        return rc;
    bool is_whole =
        segment->bytes + sizeof(struct blx_segment_header_disk) == segment->frames_end_bytes;
    rc = make_piece(segment, file_bytes, &piece, err);
    if (rc < 0)
        return rc;
    bool alone = is_whole && file_bytes >= LARGE_BYTES;
    if (alone || !blx_rewrite_group_fits(&walk->group, &piece))
        rc = end_group(walk, err);
    if (rc == 0 && blx_rewrite_group_add(&walk->group, &piece) < 0)
        rc = no_memory(err);
    free(piece.frames);
    walk->is_whole = walk->is_whole && is_whole;
    return rc == 0 && alone ? end_group(walk, err) : rc;
}

int blx_copy_source_each(const struct blx_copy_source *source, uint32_t entry, uint32_t from,
                         blx_copy_visit *visit, void *arg, struct blx_error *err)
{
    const struct numbers *numbers = &source->chains[entry];
    uint32_t first = find_from(numbers, from);
    struct walk walk = {.source = source,
                        .volume = &source->manifest.volumes[entry],
                        .is_whole = true,
                        .visit = visit,
                        .arg = arg};
    /* As if one checkpoint had them all. */
    struct blx_manifest_volume all = source->manifest.volumes[entry];
    all.segments = numbers->all + first;
    all.segment_count = numbers->count - first;
    int rc = blx_agent_store_volume_path(source->agent, all.name, walk.dir, err);
    if (rc == 0)
        rc = blx_needed_find(walk.dir, &all, consider, &walk, NULL, err);
    if (rc == 0)
        rc = end_group(&walk, err);
    blx_rewrite_group_clear(&walk.group);
    return rc;
}
