/* SPDX-License-Identifier: Apache-2.0 */
#include "store/receive/received_recover_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "base/text.h"
#include "store/checkpoint/manifest_file.h"
#include "store/damage_private.h"
#include "store/directory_private.h"
#include "store/receive/received_segments_private.h"

/* The volume's state file, as it was found. */
enum file_state {
    FILE_GOOD,
    FILE_GONE,        /* missing, or damaged */
    FILE_FRAMES_LOST, /* it has no generation: frames were lost, and that was noted */
    FILE_DISTRUSTED   /* a rescan found that the stored frames cannot be read */
};

/* Which checkpoint has the volume. */
enum checkpoint_state {
    CHECKPOINT_NONE,      /* none, or an older one: the volume was away meanwhile */
    CHECKPOINT_NEWEST,    /* the agent's newest one */
    CHECKPOINT_UNREADABLE /* one that would have to be read first is damaged */
};

/* The newest checkpoint that has the volume. */
struct committed {
    enum checkpoint_state state;
    char damage[BLX_REASON_BYTES]; /* if it is unreadable */
    uint32_t next_segment;
    struct blx_generation generation;
    uint64_t last_seq;
    uint64_t size_bytes;
    unsigned block_shift;
    char device[BLX_TEXT_BYTES];
    char identity[BLX_TEXT_BYTES];
    struct blx_key_id key_id;
};

static uint32_t highest_of(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static bool take_committed(const struct blx_manifest *manifest, const char *name,
                           struct committed *committed)
{
    const struct blx_manifest_volume *volume = blx_manifest_find(manifest, name);
    if (volume == NULL)
        return false;
    committed->next_segment = volume->next_segment;
    committed->generation = volume->generation;
    committed->last_seq = volume->last_seq;
    committed->size_bytes = volume->size_bytes;
    committed->block_shift = volume->block_shift;
    memcpy(committed->device, volume->device, sizeof(committed->device));
    memcpy(committed->identity, volume->identity, sizeof(committed->identity));
    committed->key_id = volume->key_id;
    return true;
}

/*
 * A damaged checkpoint could name any segment: then none of those that exist may be taken for
 * uncommitted (and dropped by a full pass), whatever older checkpoints say. Only a full pass that
 * began after it is surely not in it.
 */
static void suspect_all(const struct blx_received_agent *agent,
                        const struct blx_received_volume *volume,
                        const struct blx_received_listing *listing, const char *damage,
                        struct committed *committed)
{
    const struct blx_volume_file *file = &volume->file;
    if (file->full_since != 0 && file->full_after == agent->last_timestamp) {
        committed->next_segment = file->full_since;
        return;
    }
    committed->state = CHECKPOINT_UNREADABLE;
    blx_text_set(committed->damage, damage);
    committed->next_segment = listing->highest + 1;
}

static int find_committed(const struct blx_received_agent *agent,
                          const struct blx_received_volume *volume,
                          const struct blx_received_listing *listing, struct committed *committed,
                          struct blx_error *err)
{
    *committed = (struct committed){.next_segment = 1};
    if (agent->last_damage[0] != '\0') {
        suspect_all(agent, volume, listing, agent->last_damage, committed);
        return 0;
    }
    if (take_committed(&agent->last, volume->info.name, committed)) {
        committed->state = CHECKPOINT_NEWEST;
        return 0;
    }
    if (listing->count == 0)
        return 0;
    BLX_CLEANUP_FREE blx_timestamp *all = NULL;
    size_t count;
    int rc = blx_manifest_list(agent->store, 0, UINT64_MAX, &all, &count, err);
    while (rc == 0 && count > 0) {
        BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
        struct blx_error cause = {0};
        rc = blx_manifest_read(agent->store, all[--count], &manifest, &cause);
        if (blx_is_bad_content(rc)) {
            suspect_all(agent, volume, listing, cause.message, committed);
            return 0;
        }
        if (rc == -ENOENT) { /* it was removed after it was listed */
            rc = 0;
            continue;
        }
        if (rc < 0)
            return blx_error_copy(err, rc, &cause);
        if (take_committed(&manifest, volume->info.name, committed))
            return 0;
    }
    return rc;
}

/* `lost` says why the file is gone. */
static int read_file(struct blx_received_volume *volume, enum file_state *state,
                     struct blx_error *lost, struct blx_error *err)
{
    int rc = blx_volume_file_read(volume->dir, &volume->file, lost);
    *state = FILE_GONE;
    if (rc == -ENOENT || blx_is_bad_content(rc))
        return 0;
    if (rc < 0)
        return blx_error_copy(err, rc, lost);
    if (volume->file.distrusted)
        *state = FILE_DISTRUSTED;
    else if (blx_generation_is_none(&volume->file.generation))
        *state = FILE_FRAMES_LOST;
    else
        *state = FILE_GOOD;
    return 0;
}

/*
 * The last checkpoint describes the volume, and a rescan finds out the rest: whatever the
 * uncommitted segments are, on top of its chain or without one they are an image to compare with.
 */
static void assume_state(const struct blx_received_agent *agent, struct blx_received_volume *volume,
                         const struct blx_received_listing *listing,
                         const struct committed *committed, const char *cause)
{
    struct blx_volume_file *file = &volume->file;
    if (committed->state != CHECKPOINT_NEWEST && listing->count == 0 && !listing->has_open) {
        blx_received_volume_demand(volume, BLX_RECEIVED_NEEDS_FULL, "nothing of it is stored yet");
        return;
    }
    *file = (struct blx_volume_file){.size_bytes = volume->info.size_bytes,
                                     .block_shift = volume->info.block_shift,
                                     .full_since = committed->next_segment,
                                     .full_after = agent->last_timestamp};
    if (committed->state == CHECKPOINT_NEWEST) {
        file->size_bytes = committed->size_bytes;
        file->block_shift = committed->block_shift;
        file->full_since = 0;
        memcpy(file->device, committed->device, sizeof(file->device));
        memcpy(file->identity, committed->identity, sizeof(file->identity));
    }
    blx_received_volume_demand(volume, BLX_RECEIVED_NEEDS_RESCAN, "%s", cause);
}

/* The table in received_recover_private.h. Its last rows are compare_info() and so on. */
static void decide(const struct blx_received_agent *agent, struct blx_received_volume *volume,
                   const struct blx_received_listing *listing, enum file_state file,
                   const struct committed *committed, const char *lost)
{
    if (committed->state == CHECKPOINT_UNREADABLE && file != FILE_DISTRUSTED)
        blx_received_volume_demand(volume, BLX_RECEIVED_NEEDS_FULL, "%s", committed->damage);
    switch (file) {
    case FILE_GOOD:
        break;
    case FILE_GONE:
        assume_state(agent, volume, listing, committed, lost);
        break;
    case FILE_FRAMES_LOST:
        blx_received_volume_demand(volume, BLX_RECEIVED_NEEDS_RESCAN,
                                   "what was received of it was found damaged");
        break;
    case FILE_DISTRUSTED:
        blx_received_volume_demand(volume, BLX_RECEIVED_NEEDS_FULL,
                                   "what is stored of it cannot be read");
        break;
    }
}

static bool is_of_content(const char *identity)
{
    return strncmp(identity, BLX_IDENTITY_OF_CONTENT, strlen(BLX_IDENTITY_OF_CONTENT)) == 0;
}

/* An empty identity is not known; the generation vouches for the disk, too. One of the content and
 * one of the disk itself cannot be compared. */
static bool is_another_disk(const char *before, const char *now)
{
    return before[0] != '\0' && now[0] != '\0' && is_of_content(before) == is_of_content(now) &&
           strcmp(before, now) != 0;
}

static void compare_info(const struct blx_received_agent *agent, struct blx_received_volume *volume)
{
    const struct blx_volume_file *file = &volume->file;
    const struct blx_volume_info *info = &volume->info;
    unsigned long long before = file->size_bytes, now = info->size_bytes;
    if (volume->state == BLX_RECEIVED_NEEDS_FULL)
        return;
    bool another = is_another_disk(file->identity, info->identity);
    if (another && agent->takes_any_disk)
        blx_received_volume_demand(volume, BLX_RECEIVED_NEEDS_RESCAN,
                                   "it was restored onto the disk '%.100s'", info->identity);
    if (another && !agent->takes_any_disk)
        blx_received_volume_demand(volume, BLX_RECEIVED_NEEDS_FULL,
                                   "the disk '%.100s' was replaced by '%.100s'", file->identity,
                                   info->identity);
    else if (now < before)
        blx_received_volume_demand(volume, BLX_RECEIVED_NEEDS_FULL,
                                   "it shrank from %llu to %llu bytes", before, now);
    else if (file->block_shift != info->block_shift)
        blx_received_volume_demand(volume, BLX_RECEIVED_NEEDS_FULL, "its block size changed");
    else if (now > before)
        blx_received_volume_demand(volume, BLX_RECEIVED_NEEDS_RESCAN,
                                   "it grew from %llu to %llu bytes", before, now);
}

static void compare_committed(struct blx_received_volume *volume, const struct committed *committed)
{
    if (volume->file.full_since != 0)
        return;
    if (committed->state != CHECKPOINT_NEWEST)
        blx_received_volume_demand(volume, BLX_RECEIVED_NEEDS_FULL,
                                   "the last checkpoint does not have it");
    else if (committed->size_bytes > volume->info.size_bytes ||
             committed->block_shift != volume->info.block_shift)
        blx_received_volume_demand(volume, BLX_RECEIVED_NEEDS_FULL,
                                   "the last checkpoint has it with another size");
}

/* Removes frames of a full pass that began again: a crash came before they were removed. */
static int drop_orphans(struct blx_received_volume *volume, struct blx_received_listing *listing,
                        uint32_t from, struct blx_error *err)
{
    size_t kept = 0;
    for (size_t i = 0; i < listing->count; i++) {
        char path[PATH_MAX];
        uint32_t number = listing->sealed[i];
        if (number < from || number >= volume->file.full_since) {
            listing->sealed[kept++] = number;
            continue;
        }
        int rc = blx_segment_path(volume->dir, number, path, err);
        if (rc < 0)
            return rc;
        if (blx_sys->unlink(path) != 0 && errno != ENOENT)
            return blx_error_errno(err, -errno, "cannot remove '%s'", path);
    }
    listing->count = kept;
    return 0;
}

/* An open segment that a full pass replaced while a crash kept it from being removed has a number
 * below the pass's first one. */
static int drop_old_open(struct blx_received_volume *volume, struct blx_received_listing *listing,
                         struct blx_error *err)
{
    char path[PATH_MAX];
    uint32_t number;
    struct blx_error cause = {0};
    if (!listing->has_open || volume->file.full_since == 0)
        return 0;
    int rc = blx_path_format(path, sizeof(path), err, "%s/open.seg", volume->dir);
    if (rc == 0)
        rc = blx_segment_peek_number(path, &number, &cause);
    if (blx_is_bad_content(rc)) /* take_open() will say more about it */
        return 0;
    if (rc < 0)
        return blx_error_copy(err, rc, &cause);
    if (number >= volume->file.full_since)
        return 0;
    if (blx_sys->unlink(path) != 0)
        return blx_error_errno(err, -errno, "cannot remove '%s'", path);
    listing->has_open = false;
    return 0;
}

/* Notes the key of stored frames if it is not the session's. */
static void note_other(const struct blx_received_agent *agent, const struct blx_key_id *stored,
                       const struct blx_key_id **other)
{
    if (!blx_key_id_equal(stored, &agent->key_id))
        *other = stored;
}

/*
 * A chain has one key. Going on from frames of another one, or of none, would leave blocks that no
 * rescan compares (free space) below the new ones for ever: an image that needs both keys, or that
 * is still readable without one.
 */
static void compare_keys(const struct blx_received_agent *agent, struct blx_received_volume *volume,
                         const struct committed *committed)
{
    struct blx_segment_summary open = {0};
    const struct blx_key_id *other = NULL;
    char before[BLX_KEY_ID_TEXT_BYTES], now[BLX_KEY_ID_TEXT_BYTES];
    if (volume->open != NULL)
        blx_segment_writer_summary(volume->open, &open);
    if (open.frame_count > 0)
        note_other(agent, &open.key_id, &other);
    for (size_t i = 0; i < volume->pending_count; i++)
        if (volume->pending[i].stored_bytes > 0)
            note_other(agent, &volume->pending[i].key_id, &other);
    if (volume->file.full_since == 0 && committed->state == CHECKPOINT_NEWEST)
        note_other(agent, &committed->key_id, &other);
    if (other == NULL)
        return;
    blx_key_id_format(other, before);
    blx_key_id_format(&agent->key_id, now);
    if (blx_key_id_is_none(other))
        blx_received_volume_demand(volume, BLX_RECEIVED_NEEDS_FULL,
                                   "it is encrypted from now on, with the key %s", now);
    else if (blx_key_id_is_none(&agent->key_id))
        blx_received_volume_demand(volume, BLX_RECEIVED_NEEDS_FULL,
                                   "it is not encrypted any more; its key was %s", before);
    else
        blx_received_volume_demand(volume, BLX_RECEIVED_NEEDS_FULL,
                                   "its encryption key changed from %s to %s", before, now);
}

/* If it is known how far the rest goes, the last checkpoint's segments need not be looked at. */
static int list(const struct blx_received_agent *agent, const struct blx_received_volume *volume,
                struct blx_received_listing *listing, struct blx_error *err)
{
    const char *name = volume->info.name;
    const struct blx_volume_tail *tail = blx_agent_tail_find(agent->tail, name);
    const struct blx_manifest_volume *last = blx_manifest_find(&agent->last, name);
    if (tail == NULL || last == NULL)
        return blx_received_listing_read(volume, listing, err);
    return blx_received_listing_probe(volume, last->next_segment, tail->highest_segment, listing,
                                      err);
}

int blx_received_volume_recover(const struct blx_received_agent *agent,
                                struct blx_received_volume *volume, struct blx_error *err)
{
    BLX_CLEANUP(blx_received_listing_done) struct blx_received_listing listing = {0};
    struct committed committed;
    struct blx_error lost = {0};
    enum file_state file = FILE_GONE;
    int rc = volume->is_made ? blx_fsync_dir(volume->dir, err) : 0;
    if (rc == 0 && volume->is_made) /* it is in use: prune_orphans.c spares it */
        utimensat(AT_FDCWD, volume->dir, NULL, 0);
    if (rc == 0)
        rc = list(agent, volume, &listing, err);
    if (rc == 0)
        rc = read_file(volume, &file, &lost, err);
    if (rc == 0)
        rc = find_committed(agent, volume, &listing, &committed, err);
    if (rc < 0)
        return rc;
    decide(agent, volume, &listing, file, &committed, lost.message);
    /* A pass that was committed; the crash came before the state file was told. */
    if (volume->file.full_since < committed.next_segment)
        volume->file.full_since = 0;
    if (volume->file.rescan_since < highest_of(committed.next_segment, volume->file.full_since))
        volume->file.rescan_since = 0;
    rc = drop_old_open(volume, &listing, err);
    if (rc == 0)
        rc = drop_orphans(volume, &listing, committed.next_segment, err);
    if (rc < 0)
        return rc;
    uint32_t from = highest_of(committed.next_segment, volume->file.full_since);
    volume->next_number = highest_of(listing.highest + 1, from);
    if (volume->file.full_since != 0)
        volume->seq = volume->file.seq_before;
    else if (blx_generation_equal(&committed.generation, &volume->file.generation))
        volume->seq = committed.last_seq;
    compare_info(agent, volume);
    compare_committed(volume, &committed);
    rc = volume->state != BLX_RECEIVED_NEEDS_FULL
             ? blx_received_volume_take_uncommitted(volume, &listing, from, err)
             : blx_received_volume_list_uncommitted(volume, &listing, from, err);
    if (rc < 0)
        return rc;
    compare_keys(agent, volume, &committed);
    if (blx_received_volume_is_crowded(volume))
        blx_received_volume_demand(volume, BLX_RECEIVED_NEEDS_FULL,
                                   "%zu segments came without a checkpoint", volume->pending_count);
    return 0;
}
