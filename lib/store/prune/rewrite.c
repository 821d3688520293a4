/* SPDX-License-Identifier: Apache-2.0 */
#include "store/prune/rewrite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "base/units.h"
#include "store/checkpoint/manifest_codec_private.h"
#include "store/checkpoint/manifest_file.h"
#include "store/digest_key.h"
#include "store/prune/prune_agent_private.h"
#include "store/prune/rewrite_group_private.h"

enum {
    CHAINS_WAIT_MS = 60000, /* planning a restore of a long chain reads that many indexes */
    NAP_MS = 50,            /* the longest sleep without a look at `stop` */
    SUSPECT = 50,           /* a fiftieth too much of all may be much too much of some segments */
};

/* After so long a prune that waits gets its turn. */
#define GIVE_WAY_NS (UINT64_C(5) * 1000000000)

/* A rewrite of one agent's segments. */
struct pass {
    const struct blx_rewrite_request *request;
    struct blx_rewrite_report *report;
    struct blx_prune_agent agent;
    bool planning;         /* only `total_bytes` is wanted */
    uint64_t total_bytes;  /* of the frames that are to be copied */
    uint64_t shared_ns;    /* since when the contents are shared */
    uint64_t next_copy_ns; /* when the next frame may be copied */
};

/* A volume of a checkpoint on the way. */
struct work {
    struct pass *pass;
    blx_timestamp checkpoint;
    const char *name; /* of the volume */
    char dir[PATH_MAX];
    struct blx_manifest *manifest;  /* as it is on the disk */
    struct blx_rewrite_group group; /* the segments that become one */
    struct blx_rewrite_group dead;  /* those of which nothing is needed */
    uint64_t needed_bytes;          /* of the segments so far */
    bool changed;
};

static void pass_done(struct pass *pass)
{
    blx_prune_agent_done(&pass->agent);
}

static void work_done(struct work *work)
{
    blx_rewrite_group_clear(&work->group);
    blx_rewrite_group_clear(&work->dead);
}

static int check_stop(const struct pass *pass, struct blx_error *err)
{
    if (pass->request->stop != NULL && atomic_load(pass->request->stop))
        return blx_error_set(err, -ECANCELED, "the rewrite was stopped");
    return 0;
}

static void nap(uint64_t ns)
{
    uint64_t most_ns = NAP_MS * UINT64_C(1000000);
    const struct timespec pause = {.tv_nsec = (long)(ns < most_ns ? ns : most_ns)};
    nanosleep(&pause, NULL);
}

/* After each frame: reports how far it has come, and waits if that was too fast. */
static int note_copied(void *arg, uint64_t bytes, struct blx_error *err)
{
    struct pass *pass = arg;
    const struct blx_rewrite_request *request = pass->request;
    uint64_t now_ns = blx_clock_ns(), rate = request->bytes_per_second;
    int rc = check_stop(pass, err);
    pass->report->copied_bytes += bytes;
    if (request->progress != NULL)
        request->progress(request->arg, pass->report->copied_bytes, pass->total_bytes);
    if (rate == 0)
        return rc;
    if (pass->next_copy_ns < now_ns)
        pass->next_copy_ns = now_ns;
    pass->next_copy_ns += bytes * UINT64_C(1000000000) / rate;
    for (; rc == 0 && now_ns < pass->next_copy_ns; now_ns = blx_clock_ns()) {
        nap(pass->next_copy_ns - now_ns);
        rc = check_stop(pass, err);
    }
    return rc;
}

static struct blx_manifest_volume *find_volume(const struct work *work)
{
    uint32_t i = 0;
    while (strcmp(work->manifest->volumes[i].name, work->name) != 0)
        i++;
    return &work->manifest->volumes[i];
}

/* The last checkpoint whose chain passes through this one: after it comes another base, or
 * nothing. */
static blx_timestamp last_of_chain(const struct work *work)
{
    const struct blx_prune_agent *agent = &work->pass->agent;
    for (size_t i = 0; i < agent->count; i++) {
        const struct blx_prune_checkpoint *checkpoint = &agent->checkpoints[i];
        const struct blx_manifest_volume *found =
            checkpoint->timestamp > work->checkpoint
                ? blx_manifest_find(&checkpoint->manifest, work->name)
                : NULL;
        if (found != NULL && found->base)
            return checkpoint->timestamp - 1;
    }
    return BLX_TIMESTAMP_MAX;
}

/* Leaves the group's newest segment in the manifest, if that has anything, and takes off the
 * others. */
static void edit_manifest(const struct work *work, const struct blx_rewrite_group *group)
{
    struct blx_manifest_volume *volume = find_volume(work);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < volume->segment_count; i++) {
        uint32_t number = volume->segments[i];
        bool gone = false;
        for (size_t k = group->needed_bytes > 0; k < group->count && !gone; k++)
            gone = group->pieces[k].number == number;
        if (!gone)
            volume->segments[kept++] = number;
    }
    volume->segment_count = kept;
}

static int rename_made(const struct work *work, uint32_t number, struct blx_error *err)
{
    char from[PATH_MAX], to[PATH_MAX];
    int rc = blx_rewrite_path(work->dir, from, err);
    if (rc == 0)
        rc = blx_segment_path(work->dir, number, to, err);
    if (rc == 0 && blx_sys->rename(from, to) != 0)
        rc = blx_error_errno(err, -errno, "cannot rename '%s' to '%s'", from, to);
    return rc == 0 ? blx_fsync_dir(work->dir, err) : rc;
}

/* Chains and contents are locked. 1 if somebody reads a segment that would be replaced. */
static int replace_locked(struct work *work, const struct blx_rewrite_group *group,
                          struct blx_error *err)
{
    struct blx_prune_agent *agent = &work->pass->agent;
    int rc = blx_agent_lock_is_held(&agent->lock, work->checkpoint, last_of_chain(work), err);
    if (rc == 0 && group->needed_bytes > 0)
        rc = rename_made(work, group->pieces[0].number, err);
    if (rc != 0)
        return rc;
    edit_manifest(work, group);
    work->changed = true;
    return blx_manifest_replace(agent->store, work->manifest, err);
}

/* 1 if that must wait; then nothing was done. */
static int put_in_place(struct work *work, const struct blx_rewrite_group *group,
                        struct blx_error *err)
{
    struct pass *pass = work->pass;
    struct blx_agent_lock *lock = &pass->agent.lock;
    struct blx_error busy = {0};
    int rc = blx_agent_lock_alone(lock, BLX_LOCK_CONTENTS, pass->request->wait_ms, &busy);
    if (rc == 0) {
        rc = blx_agent_lock_alone(lock, BLX_LOCK_CHAINS, CHAINS_WAIT_MS, &busy);
        if (rc == 0) {
            rc = replace_locked(work, group, &busy);
            blx_agent_lock_release(lock, BLX_LOCK_CHAINS);
        }
        int shared = blx_agent_lock_share(lock, BLX_LOCK_CONTENTS, err);
        if (shared < 0)
            return shared;
    }
    return rc == -EBUSY ? 1 : rc < 0 ? blx_error_copy(err, rc, &busy) : rc;
}

/* No manifest names them any more. */
static int unlink_replaced(const struct work *work, const struct blx_rewrite_group *group,
                           struct blx_error *err)
{
    bool any = false;
    for (size_t i = group->needed_bytes > 0; i < group->count; i++) {
        char path[PATH_MAX];
        int rc = blx_segment_path(work->dir, group->pieces[i].number, path, err);
        if (rc < 0)
            return rc;
        if (blx_sys->unlink(path) != 0)
            return blx_error_errno(err, -errno, "cannot remove '%s'", path);
        any = true;
    }
    return any ? blx_fsync_dir(work->dir, err) : 0;
}

static void unlink_made(const char *dir)
{
    char path[PATH_MAX];
    if (blx_rewrite_path(dir, path, NULL) == 0)
        blx_sys->unlink(path);
}

static void count_freed(struct blx_rewrite_report *report, const struct blx_rewrite_group *group,
                        uint64_t made_bytes)
{
    report->replaced += group->count;
    if (group->used_bytes > made_bytes)
        report->freed_bytes += group->used_bytes - made_bytes;
}

static uint64_t used_bytes(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

/* The new file of a group that has needed frames. Without a secret, or with a damaged one, frames
 * of before stay without digests. */
static int copy_group(struct work *work, const struct blx_rewrite_group *group,
                      struct blx_segment_writer **made, struct blx_error *err)
{
    struct blx_volume_key key = {0};
    int rc = blx_digest_key_find(work->pass->agent.store, work->name, &key, NULL);
    if (rc < 0 && rc != -EBADMSG)
        return blx_error_errno(err, rc, "cannot rewrite segments in '%s'", work->dir);
    rc = blx_rewrite_group_copy(group, work->dir, BLX_REWRITE_NAME, find_volume(work)->block_shift,
                                rc == 1 ? &key : NULL, note_copied, work->pass, made, err);
    blx_volume_key_wipe(&key);
    return rc;
}

static int rewrite_group(struct work *work, const struct blx_rewrite_group *group,
                         struct blx_error *err)
{
    struct pass *pass = work->pass;
    struct blx_segment_writer *made = NULL;
    struct blx_error cause = {0};
    int rc = 0;
    if (group->needed_bytes > 0)
        rc = copy_group(work, group, &made, &cause);
    uint64_t made_bytes = made == NULL ? 0 : used_bytes(made->fd);
    blx_segment_writer_close(made);
    bool damaged = rc == -EBADMSG;
    if (rc == 0)
        rc = put_in_place(work, group, &cause);
    if (rc == 0) {
        count_freed(pass->report, group, made_bytes);
        return unlink_replaced(work, group, err);
    }
    unlink_made(work->dir);
    pass->report->damaged += damaged ? group->count : 0;
    pass->report->put_off += rc == 1 ? group->count : 0;
    return rc == 1 || damaged ? 0 : blx_error_copy(err, rc, &cause);
}

/* Whether the checkpoint is still the same after others had a turn. */
static int is_unchanged(const struct work *work, struct blx_error *err)
{
    const struct blx_prune_agent *agent = &work->pass->agent;
    BLX_CLEANUP_FREE void *before = NULL;
    BLX_CLEANUP_FREE void *now = NULL;
    size_t before_bytes = 0, now_bytes = 0;
    size_t at = blx_prune_agent_find(agent, work->checkpoint);
    if (at == SIZE_MAX || blx_prune_is_shared(agent, at, work->name))
        return 0;
    int rc = blx_manifest_encode(work->manifest, &before, &before_bytes, err);
    if (rc == 0)
        rc = blx_manifest_encode(&agent->checkpoints[at].manifest, &now, &now_bytes, err);
    if (rc < 0)
        return rc;
    return before_bytes == now_bytes && memcmp(before, now, now_bytes) == 0;
}

/* Shares the contents with verifications, and reads the manifests. */
static int begin(struct pass *pass, struct blx_error *err)
{
    struct blx_prune_agent *agent = &pass->agent;
    int rc = blx_agent_lock_share(&agent->lock, BLX_LOCK_CONTENTS, err);
    pass->shared_ns = blx_clock_ns();
    blx_prune_agent_forget(agent);
    return rc == 0 ? blx_prune_agent_open(agent->store, agent, err) : rc;
}

/* A prune that waits gets its turn. 1 if the checkpoint is another one afterwards. */
static int give_way(struct work *work, struct blx_error *err)
{
    struct pass *pass = work->pass;
    if (blx_clock_ns() - pass->shared_ns < GIVE_WAY_NS)
        return 0;
    blx_agent_lock_release(&pass->agent.lock, BLX_LOCK_CONTENTS);
    nap(UINT64_MAX);
    int rc = begin(pass, err);
    if (rc == 0)
        rc = is_unchanged(work, err);
    return rc < 0 ? rc : rc == 0;
}

/* No older segment belongs to the group. 1 if the checkpoint is another one now. */
static int end_group(struct work *work, struct blx_error *err)
{
    int rc = 0;
    if (blx_rewrite_group_is_worth_it(&work->group)) {
        if (work->pass->planning)
            work->pass->total_bytes += work->group.needed_bytes;
        else
            rc = rewrite_group(work, &work->group, err);
    }
    blx_rewrite_group_clear(&work->group);
    if (rc == 0 && !work->pass->planning)
        rc = give_way(work, err);
    return rc == 0 ? check_stop(work->pass, err) : rc;
}

static int make_piece(const struct work *work, const struct blx_needed_segment *segment,
                      struct blx_rewrite_piece *piece, struct blx_error *err)
{
    char path[PATH_MAX];
    struct stat st;
    int rc = blx_segment_path(work->dir, segment->number, path, err);
    if (rc < 0)
        return rc;
    if (stat(path, &st) != 0)
        return blx_error_errno(err, -errno, "cannot read '%s'", path);
    size_t bytes = segment->frame_count * sizeof(segment->frames[0]);
    *piece = (struct blx_rewrite_piece){.number = segment->number,
                                        .file_bytes = (uint64_t)st.st_size,
                                        .used_bytes = (uint64_t)st.st_blocks * 512,
                                        .needed_bytes = segment->bytes,
                                        .entries = segment->entries,
                                        .digests = segment->data_blocks,
                                        .frame_count = segment->frame_count};
    if (!blx_rewrite_piece_is_poor(piece))
        return 0;
    piece->frames = malloc(bytes + 1);
    if (piece->frames == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot rewrite '%s'", path);
    memcpy(piece->frames, segment->frames, bytes);
    return 0;
}

static int consider(void *arg, const struct blx_needed_segment *segment, struct blx_error *err)
{
    struct work *work = arg;
    struct blx_rewrite_piece piece = {0};
    int rc = make_piece(work, segment, &piece, err);
    if (rc < 0)
        return rc;
    work->needed_bytes += segment->bytes;
    bool poor = blx_rewrite_piece_is_poor(&piece);
    struct blx_rewrite_group *group = piece.frame_count > 0 ? &work->group : &work->dead;
    if (!poor || !blx_rewrite_group_fits(&work->group, &piece))
        rc = end_group(work, err);
    if (rc == 0 && poor && blx_rewrite_group_add(group, &piece) < 0)
        rc = blx_error_errno(err, -ENOMEM, "cannot rewrite segments in '%s'", work->dir);
    free(piece.frames);
    return rc;
}

/* Whether the files take more than the manifest says that is needed; without a look into them. */
static bool is_suspect(const struct work *work, const struct blx_manifest_volume *volume)
{
    uint64_t used = 0;
    for (uint32_t i = 0; i < volume->segment_count; i++) {
        char path[PATH_MAX];
        struct stat st;
        if (blx_segment_path(work->dir, volume->segments[i], path, NULL) == 0 &&
            stat(path, &st) == 0)
            used += (uint64_t)st.st_blocks * 512;
    }
    return used > volume->stored_bytes + volume->stored_bytes / SUSPECT;
}

/* The manifest's figure, as soon as it is known; a commit counts all frames. */
static int settle(const struct work *work, struct blx_error *err)
{
    struct blx_manifest_volume *volume = find_volume(work);
    if (!work->changed || volume->stored_bytes == work->needed_bytes)
        return 0;
    volume->stored_bytes = work->needed_bytes;
    return blx_manifest_replace(work->pass->agent.store, work->manifest, err);
}

/* `volume` stays as it was when the work began. */
static int rewrite_volume(struct pass *pass, struct blx_manifest *manifest,
                          const struct blx_manifest_volume *volume, struct blx_error *err)
{
    BLX_CLEANUP(work_done)
    struct work work = {.pass = pass,
                        .checkpoint = manifest->timestamp,
                        .name = volume->name,
                        .manifest = manifest};
    int rc = blx_agent_store_volume_path(pass->agent.store, volume->name, work.dir, err);
    if (rc < 0 || !is_suspect(&work, volume))
        return rc;
    rc = blx_needed_find(work.dir, volume, consider, &work, NULL, err);
    if (rc == 0)
        rc = end_group(&work, err);
    if (rc == 0 && work.dead.count > 0 && !pass->planning)
        rc = rewrite_group(&work, &work.dead, err);
    if (rc == 0)
        rc = settle(&work, err);
    return rc;
}

/* Others may have had a turn after each volume: 1 if the checkpoint is another one now. */
static int rewrite_checkpoint(struct pass *pass, size_t at, struct blx_error *err)
{
    BLX_CLEANUP_MANIFEST struct blx_manifest before = {0};
    BLX_CLEANUP_MANIFEST struct blx_manifest now = {0};
    const struct blx_manifest *manifest = &pass->agent.checkpoints[at].manifest;
    int rc = blx_manifest_copy(manifest, &before, err);
    if (rc == 0)
        rc = blx_manifest_copy(manifest, &now, err);
    for (uint32_t i = 0; rc == 0 && i < blx_manifest_count_entries(&before); i++) {
        const struct blx_manifest_volume *volume = &before.volumes[i];
        size_t place = blx_prune_agent_find(&pass->agent, before.timestamp);
        if (!volume->clearing && !blx_prune_is_shared(&pass->agent, place, volume->name))
            rc = rewrite_volume(pass, &now, volume, err);
    }
    return rc;
}

/* The place of the first checkpoint after that one. */
static size_t first_after(const struct blx_prune_agent *agent, blx_timestamp timestamp)
{
    size_t low = 0, high = agent->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (agent->checkpoints[middle].timestamp <= timestamp)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int rewrite_all(struct pass *pass, struct blx_error *err)
{
    const struct blx_prune_agent *agent = &pass->agent; /* which may be read again on the way */
    int rc = 0;
    for (size_t at = 0; rc >= 0 && at < agent->count;) {
        blx_timestamp timestamp = agent->checkpoints[at].timestamp;
        rc = check_stop(pass, err);
        if (rc == 0)
            rc = rewrite_checkpoint(pass, at, err);
        at = first_after(agent, timestamp);
    }
    return rc < 0 ? rc : 0;
}

int blx_rewrite(struct blx_agent_store agent, const struct blx_rewrite_request *request,
                struct blx_rewrite_report *report, struct blx_error *err)
{
    struct blx_prune_report unused = {0};
    BLX_CLEANUP(pass_done)
    struct pass pass = {.request = request,
                        .report = report,
                        .agent = {.store = agent, .lock = {.fd = -1}, .report = &unused}};
    *report = (struct blx_rewrite_report){0};
    int rc = blx_agent_lock_open(agent, &pass.agent.lock, err);
    if (rc == 0)
        rc = blx_agent_lock_alone(&pass.agent.lock, BLX_LOCK_REWRITES, request->wait_ms, err);
    if (rc == 0)
        rc = begin(&pass, err);
    if (rc == 0 && request->progress != NULL) {
        pass.planning = true;
        rc = rewrite_all(&pass, err);
        pass.planning = false;
    }
    return rc == 0 ? rewrite_all(&pass, err) : rc;
}
