/* SPDX-License-Identifier: Apache-2.0 */
#include "store/receive/agent_writer_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "base/text.h"
#include "store/checkpoint/manifest_file.h"
#include "store/damage_private.h"
#include "store/directory_private.h"
#include "store/layout_private.h"
#include "store/reserve.h"
#include "store/segment/segment_writer_private.h"

int blx_agent_writer_fail(struct blx_agent_writer *writer, int rc)
{
    if (rc < 0 && writer->broken == 0)
        writer->broken = rc;
    return rc;
}

int blx_agent_writer_check(const struct blx_agent_writer *writer, struct blx_error *err)
{
    if (writer->broken == 0)
        return 0;
    return blx_error_errno(err, -EIO, "the store of the agent '%s' failed before (%s)",
                           writer->agent_id, strerrorname_np(-writer->broken));
}

/* The agent's folders. Each name is made durable, from the top down. */
static int make_folders(const struct blx_agent_writer *writer, enum blx_agent_folder folder,
                        struct blx_error *err)
{
    char path[PATH_MAX];
    static const char *const below[] = {"", "/volumes", "/checkpoints"};
    int rc =
        blx_path_format(path, sizeof(path), err, "%s/agents", writer->agent.store.store->data_dir);
    if (rc == 0)
        rc = blx_directory_make(path, err);
    for (size_t i = folder == BLX_AGENT_FOLDER_ANY ? 0 : 1;
         rc == 0 && i < sizeof(below) / sizeof(below[0]); i++) {
        rc = blx_path_format(path, sizeof(path), err, "%s/agents/%s%s",
                             writer->agent.store.store->data_dir, writer->agent_id, below[i]);
        if (rc == 0)
            rc = blx_directory_make(path, err);
    }
    return rc;
}

/* From the tail, or from the folder. */
static int find_last(struct blx_agent_writer *writer, struct blx_error *err)
{
    if (writer->agent.tail == NULL)
        return blx_manifest_latest(writer->agent.store, &writer->agent.last_timestamp, err);
    writer->agent.last_timestamp = writer->agent.tail->last_timestamp;
    return 0;
}

/* A commit may have renamed its manifest and died before the fsync: it must be durable before
 * anything is built upon it. */
static int read_last(struct blx_agent_writer *writer, struct blx_error *err)
{
    char dir[PATH_MAX];
    int rc = blx_manifest_dir(writer->agent.store, dir, err);
    if (rc == 0)
        rc = blx_fsync_dir(dir, err);
    if (rc == 0)
        rc = find_last(writer, err);
    if (rc < 0 || writer->agent.last_timestamp == 0)
        return rc;
    struct blx_error cause = {0};
    rc = blx_manifest_read(writer->agent.store, writer->agent.last_timestamp, &writer->agent.last,
                           &cause);
    if (rc == -ENOENT && writer->agent.tail != NULL) { /* somebody removed it by hand */
        free(blx_take_ptr(writer->agent.tail));
        return read_last(writer, err);
    }
    if (blx_is_bad_content(rc)) {
        writer->agent.last.timestamp = writer->agent.last_timestamp;
        blx_text_set(writer->agent.last_damage, cause.message);
        return 0;
    }
    if (rc < 0)
        return blx_error_copy(err, rc, &cause);
    return 0;
}

int blx_agent_writer_open_in(struct blx_agent_store agent, enum blx_agent_folder folder,
                             struct blx_agent_tail *tail, struct blx_agent_writer **writer,
                             struct blx_error *err)
{
    BLX_CLEANUP_FREE struct blx_agent_tail *owned_tail = tail;
    int rc = blx_name_check("agent ID", agent.id, err);
    if (rc < 0)
        return rc;
    struct blx_agent_writer *opened = calloc(1, sizeof(*opened));
    if (opened == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot open the store of the agent '%s'", agent.id);
    opened->lock.fd = -1;
    opened->agent.tail = blx_take_ptr(owned_tail);
    strcpy(opened->agent_id, agent.id);
    opened->agent.store = blx_store_agent(agent.store, opened->agent_id);
    rc = make_folders(opened, folder, err);
    if (rc == 0)
        rc = blx_agent_lock_enter(opened->agent.store, &opened->lock, err);
    if (rc == 0)
        rc = read_last(opened, err);
    if (rc < 0) {
        blx_agent_writer_close(opened);
        return rc;
    }
    *writer = opened;
    return 0;
}

void blx_agent_writer_close(struct blx_agent_writer *writer)
{
    if (writer == NULL)
        return;
    for (uint32_t i = 0; i < writer->volume_count; i++)
        blx_received_volume_free(writer->volumes[i]);
    blx_manifest_done(&writer->agent.last);
    blx_agent_lock_close(&writer->lock);
    free(writer->agent.tail);
    blx_key_wipe(&writer->agent.digest_key);
    free(writer);
}

struct blx_agent_tail *blx_agent_writer_make_tail(const struct blx_agent_writer *writer)
{
    if (writer->broken != 0)
        return NULL;
    struct blx_agent_tail *tail =
        calloc(1, sizeof(*tail) + writer->volume_count * sizeof(tail->volumes[0]));
    if (tail == NULL)
        return NULL;
    tail->last_timestamp = writer->agent.last_timestamp;
    tail->volume_count = writer->volume_count;
    for (uint32_t i = 0; i < writer->volume_count; i++) {
        const struct blx_received_volume *volume = writer->volumes[i];
        memcpy(tail->volumes[i].name, volume->info.name, sizeof(tail->volumes[i].name));
        tail->volumes[i].highest_segment = volume->next_number - 1;
    }
    return tail;
}

const struct blx_manifest *blx_agent_writer_get_last(const struct blx_agent_writer *writer)
{
    return &writer->agent.last;
}

static int check_info(const struct blx_agent_writer *writer, const struct blx_volume_info *info,
                      struct blx_error *err)
{
    int rc = blx_name_check("volume name", info->name, err);
    if (rc < 0)
        return -EPROTO;
    if (info->volume != writer->volume_count || writer->volume_count >= BLX_MAX_VOLUMES)
        return blx_error_set(err, -EPROTO, "the volume '%s' has number %u; %u was expected",
                             info->name, info->volume, writer->volume_count);
    if (info->block_shift < BLX_BLOCK_SHIFT_MIN || info->block_shift > BLX_BLOCK_SHIFT_MAX ||
        info->size_bytes == 0 || info->size_bytes > INT64_MAX)
        return blx_error_set(err, -EPROTO, "the volume '%s' has no valid size or block size",
                             info->name);
    if (info->size_bytes >> info->block_shift > BLX_VOLUME_MAX_BLOCKS)
        return blx_error_set(
            err, -EPROTO,
            "the volume '%s' has %llu blocks of %llu bytes: no agent has more than "
            "%d, so this one is not blxrep's, or was tampered with",
            info->name, (unsigned long long)info->size_bytes >> info->block_shift,
            1ULL << info->block_shift, BLX_VOLUME_MAX_BLOCKS);
    if (blx_generation_is_none(&info->generation) ||
        !blx_layout_text_ok(info->device, sizeof(info->device)) ||
        !blx_layout_text_ok(info->identity, sizeof(info->identity)))
        return blx_error_set(err, -EPROTO, "the volume '%s' has no valid generation or device",
                             info->name);
    for (uint32_t i = 0; i < writer->volume_count; i++)
        if (strcmp(writer->volumes[i]->info.name, info->name) == 0)
            return blx_error_set(err, -EEXIST,
                                 "the devices '%s' and '%s' both give the volume name '%s'",
                                 writer->volumes[i]->info.device, info->device, info->name);
    return 0;
}

void blx_agent_writer_set_key(struct blx_agent_writer *writer, const struct blx_key_id *key_id)
{
    writer->agent.key_id = *key_id;
}

void blx_agent_writer_set_digest_key(struct blx_agent_writer *writer, const struct blx_key *key)
{
    writer->agent.digest_key = *key;
}

void blx_agent_writer_take_any_disk(struct blx_agent_writer *writer)
{
    writer->agent.takes_any_disk = true;
}

/* The key of the digests that come beside frames; none: they are inside, or there are none. */
static struct blx_key_id digest_key_of(const struct blx_agent_writer *writer)
{
    static const struct blx_key_id none;
    return blx_key_id_is_none(&writer->agent.key_id) ? writer->agent.digest_key.id : none;
}

int blx_agent_writer_add_volume(struct blx_agent_writer *writer, const struct blx_volume_info *info,
                                struct blx_volume_state *state, struct blx_error *err)
{
    char dir[PATH_MAX];
    int rc = blx_agent_writer_check(writer, err);
    if (rc == 0)
        rc = check_info(writer, info, err);
    if (rc == 0)
        rc = blx_agent_store_volume_path(writer->agent.store, info->name, dir, err);
    if (rc < 0)
        return rc;
    struct blx_received_volume *volume = calloc(1, sizeof(*volume));
    if (volume == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot open the volume '%s'", info->name);
    volume->info = *info;
    volume->dir = strdup(dir);
    if (volume->dir == NULL)
        rc = blx_error_errno(err, -ENOMEM, "cannot open the volume '%s'", info->name);
    /* One that a checkpoint has is never new. */
    volume->is_made = blx_agent_store_has_volume(writer->agent.store, info->name) ||
                      blx_manifest_find(&writer->agent.last, info->name) != NULL;
    if (rc == 0 && volume->is_made)
        rc = blx_directory_make(dir, err);
    if (rc == 0)
        rc = blx_received_volume_recover(&writer->agent, volume, err);
    if (rc < 0) {
        blx_received_volume_free(volume);
        return rc;
    }
    volume->acked_seq = volume->seq;
    writer->volumes[writer->volume_count++] = volume;
    *state = (struct blx_volume_state){.volume = info->volume};
    blx_text_set(state->reason, volume->reason);
    if (volume->state != BLX_RECEIVED_NEEDS_FULL)
        state->image_bytes = volume->file.size_bytes;
    if (volume->state == BLX_RECEIVED_GOES_ON) {
        state->generation = volume->file.generation;
        state->durable_seq = volume->seq;
    }
    return 0;
}

const char *blx_agent_writer_get_reason(const struct blx_agent_writer *writer, uint32_t number)
{
    return number < writer->volume_count ? writer->volumes[number]->reason : "";
}

const char *blx_agent_writer_get_cut(const struct blx_agent_writer *writer, uint32_t number)
{
    return number < writer->volume_count ? writer->volumes[number]->cut : "";
}

static int find_volume(struct blx_agent_writer *writer, uint32_t number,
                       struct blx_received_volume **volume, struct blx_error *err)
{
    int rc = blx_agent_writer_check(writer, err);
    if (rc < 0)
        return rc;
    if (number >= writer->volume_count)
        return blx_error_set(err, -EPROTO, "there is no volume number %u in this session", number);
    *volume = writer->volumes[number];
    return 0;
}

/* The volume file first: from then on the old frames are useless and may go, whenever that happens.
 */
static int begin_full(const struct blx_agent_writer *writer, struct blx_received_volume *volume,
                      struct blx_error *err)
{
    const struct blx_volume_info *info = &volume->info;
    bool same = volume->state == BLX_RECEIVED_GOES_ON &&
                blx_generation_equal(&volume->file.generation, &info->generation);
    uint32_t full_since = volume->next_number + (volume->open != NULL);
    struct blx_volume_file file = {
        .generation = info->generation,
        .size_bytes = info->size_bytes,
        .block_shift = info->block_shift,
        .full_since = full_since,
        .seq_before = same ? volume->seq : 0,
        .full_after = writer->agent.last_timestamp,
    };
    memcpy(file.device, info->device, sizeof(file.device));
    memcpy(file.identity, info->identity, sizeof(file.identity));
    int rc = volume->is_made ? blx_volume_file_write(volume->dir, &file, err) : 0;
    if (rc < 0)
        return rc;
    volume->file = file;
    volume->next_number = full_since;
    volume->seq = file.seq_before;
    if (!same)
        volume->acked_seq = 0;
    blx_received_volume_go_on(volume);
    return volume->is_made ? blx_received_volume_discard(volume, err) : 0;
}

/*
 * Another generation goes on with the stored image. The frames that no checkpoint has are sealed
 * off first, so that every segment is of one generation; then the volume file says from which
 * segment on the new one counts. A crash in between leaves sealed segments of the old generation.
 */
static int begin_rescan(struct blx_received_volume *volume, struct blx_error *err)
{
    const struct blx_volume_info *info = &volume->info;
    if (volume->state == BLX_RECEIVED_NEEDS_FULL)
        return blx_error_set(err, -EPROTO, "the volume '%s' cannot be rescanned: %s", info->name,
                             volume->reason);
    if (blx_generation_equal(&volume->file.generation, &info->generation))
        return blx_error_set(err, -EPROTO,
                             "this pass of the volume '%s' needs a generation that is new here",
                             info->name);
    int rc = blx_received_volume_seal_frames(volume, err);
    if (rc < 0)
        return rc;
    struct blx_volume_file file = volume->file;
    file.generation = info->generation;
    file.size_bytes = info->size_bytes;
    file.rescan_since = volume->next_number;
    file.seq_before = 0;
    memcpy(file.device, info->device, sizeof(file.device));
    if (info->identity[0] != '\0')
        memcpy(file.identity, info->identity, sizeof(file.identity));
    rc = blx_volume_file_write(volume->dir, &file, err);
    if (rc < 0)
        return rc;
    volume->file = file;
    volume->seq = 0;
    volume->acked_seq = 0;
    blx_received_volume_go_on(volume);
    return 0;
}

/* The same on the disk, from a state that needs no comparison. */
static int begin_continue(struct blx_received_volume *volume, struct blx_error *err)
{
    if (volume->state != BLX_RECEIVED_GOES_ON)
        return blx_error_set(err, -EPROTO, "the volume '%s' cannot continue: %s", volume->info.name,
                             volume->reason);
    return begin_rescan(volume, err);
}

static int check_resume(const struct blx_received_volume *volume, struct blx_error *err)
{
    const char *name = volume->info.name;
    if (volume->state != BLX_RECEIVED_GOES_ON)
        return blx_error_set(err, -EPROTO, "the volume '%s' cannot resume: %s", name,
                             volume->reason);
    if (!blx_generation_equal(&volume->file.generation, &volume->info.generation))
        return blx_error_set(
            err, -EPROTO, "the volume '%s' cannot resume: what is stored is of another generation",
            name);
    return 0;
}

int blx_agent_writer_begin(struct blx_agent_writer *writer, uint32_t number, enum blx_pass pass,
                           struct blx_error *err)
{
    struct blx_received_volume *volume = NULL;
    int rc = find_volume(writer, number, &volume, err);
    if (rc < 0)
        return rc;
    if (pass == BLX_PASS_FULL)
        rc = begin_full(writer, volume, err);
    else if (pass == BLX_PASS_RESCAN)
        rc = begin_rescan(volume, err);
    else if (pass == BLX_PASS_CONTINUE)
        rc = begin_continue(volume, err);
    else if (pass == BLX_PASS_RESUME)
        rc = check_resume(volume, err);
    else
        rc =
            blx_error_set(err, -EPROTO, "the volume '%s' began an unknown pass", volume->info.name);
    if (rc == 0)
        volume->begun = true;
    return rc == -EPROTO ? rc : blx_agent_writer_fail(writer, rc);
}

/* Everything about the frame that is the agent's to get right. */
static int check_frame(const struct blx_agent_writer *writer,
                       const struct blx_received_volume *volume, const struct blx_frame *frame,
                       struct blx_error *err)
{
    const struct blx_volume_info *info = &volume->info;
    if (!volume->begun)
        return blx_error_set(err, -EPROTO, "a frame came before the volume '%s' began a pass",
                             info->name);
    if (!blx_generation_equal(&frame->generation, &info->generation))
        return blx_error_set(err, -EPROTO, "a frame of another generation came for the volume '%s'",
                             info->name);
    if (!blx_key_id_equal(&frame->key_id, &writer->agent.key_id))
        return blx_error_set(err, -EPROTO,
                             "a frame for the volume '%s' is not encrypted with the key that the "
                             "session named (or is, though it named none)",
                             info->name);
    if (frame->block_shift != info->block_shift)
        return blx_error_set(err, -EBADMSG,
                             "a frame of another block size came for the volume '%s'", info->name);
    if (frame->seq != volume->seq + 1)
        return blx_error_set(err, -EPROTO, "frame %llu came for the volume '%s'; %llu was expected",
                             (unsigned long long)frame->seq, info->name,
                             (unsigned long long)(volume->seq + 1));
    uint64_t blocks = blx_blocks_of_bytes(info->size_bytes, info->block_shift);
    return blx_frame_check_bounds(frame, blocks, err);
}

/* Looks now and then whether what is left is the reserve's. */
static int check_reserve(struct blx_agent_writer *writer, size_t frame_bytes, struct blx_error *err)
{
    enum { LOOK_BYTES = 512 * 1024 };
    writer->unlooked_bytes += frame_bytes;
    if (writer->looked && writer->unlooked_bytes < LOOK_BYTES)
        return 0;
    writer->looked = true;
    writer->unlooked_bytes = 0;
    return blx_reserve_check(writer->agent.store.store, err);
}

/* A commit costs time for each segment. Only an agent that begins pass after pass gets here; its
 * next session is told to begin with a full one, which drops them all. */
static int check_count(const struct blx_received_volume *volume, struct blx_error *err)
{
    if (volume->open != NULL || !blx_received_volume_is_crowded(volume))
        return 0;
    return blx_error_set(err, -EPROTO,
                         "the volume '%s' has %zu segments that no checkpoint has yet, more than "
                         "its size explains: it has to be sent whole",
                         volume->info.name, volume->pending_count);
}

/* Makes `volume->open` ready to take a frame. */
static int make_room(struct blx_received_volume *volume, const struct blx_key_id *digest_key_id,
                     struct blx_error *err)
{
    if (volume->open != NULL) {
        if (!blx_segment_writer_is_full(volume->open, digest_key_id))
            return 0;
        int rc = blx_received_volume_seal(volume, err);
        if (rc < 0)
            return rc;
    }
    int rc = blx_received_volume_make(volume, err);
    if (rc < 0)
        return rc;
    return blx_segment_writer_open(volume->dir, volume->next_number, volume->info.block_shift,
                                   &volume->open, NULL, err);
}

/* Whether the frame is the next one in the open segment, too: a pass of another generation begins
 * with a segment of its own. For an assert. */
static bool ends_before(const struct blx_received_volume *volume, uint64_t seq)
{
    struct blx_segment_summary summary;
    blx_segment_writer_summary(volume->open, &summary);
    return summary.frame_count == 0 || summary.last_seq + 1 == seq;
}

int blx_agent_writer_append(struct blx_agent_writer *writer, uint32_t number, const void *bytes,
                            size_t length, struct blx_error *err)
{
    struct blx_received_volume *volume = NULL;
    struct blx_frame frame;
    const struct blx_key_id digest_key_id = digest_key_of(writer);
    int rc = find_volume(writer, number, &volume, err);
    if (rc == 0)
        rc = blx_key_id_is_none(&digest_key_id)
                 ? blx_frame_parse(bytes, length, &frame, err)
                 : blx_frame_parse_with_digests(bytes, length, &frame, err);
    if (rc == 0)
        rc = check_frame(writer, volume, &frame, err);
    if (rc == 0)
        rc = check_count(volume, err);
    if (rc < 0)
        return rc;
    rc = check_reserve(writer, frame.frame_bytes, err);
    if (rc == 0)
        rc = make_room(volume, &digest_key_id, err);
    blx_assert(rc < 0 || ends_before(volume, frame.seq));
    if (rc == 0) {
        blx_segment_writer_set_digest_key(volume->open, &digest_key_id);
        rc = blx_segment_writer_append(volume->open, &frame, err);
    }
    if (rc < 0)
        return blx_agent_writer_fail(writer, rc);
    volume->seq = frame.seq;
    volume->unsynced_bytes += frame.frame_bytes;
    return 0;
}

int blx_agent_writer_note_unreadable(struct blx_agent_writer *writer,
                                     const struct blx_unreadable *unreadable, struct blx_error *err)
{
    struct blx_received_volume *volume = NULL;
    int rc = find_volume(writer, unreadable->volume, &volume, err);
    if (rc < 0)
        return rc;
    const struct blx_extent *last = &unreadable->extents[unreadable->extent_count - 1];
    uint64_t blocks = blx_blocks_of_bytes(volume->info.size_bytes, volume->info.block_shift);
    if (last->start_block + last->block_count > blocks)
        return blx_error_set(err, -EPROTO,
                             "unreadable blocks lie beyond the end of the volume '%s'",
                             volume->info.name);
    if (volume->unreadable_count > 0)
        return blx_error_set(err, -EPROTO,
                             "the unreadable blocks of the volume '%s' came twice for a checkpoint",
                             volume->info.name);
    size_t bytes = unreadable->extent_count * sizeof(unreadable->extents[0]);
    volume->unreadable = malloc(bytes);
    if (volume->unreadable == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot note what could not be read");
    memcpy(volume->unreadable, unreadable->extents, bytes);
    volume->unreadable_count = unreadable->extent_count;
    return 0;
}

uint64_t blx_agent_writer_count_unsynced(const struct blx_agent_writer *writer)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < writer->volume_count; i++)
        bytes += writer->volumes[i]->unsynced_bytes;
    return bytes;
}

int blx_agent_writer_sync(struct blx_agent_writer *writer,
                          void (*acked)(void *arg, uint32_t volume, uint64_t durable_seq),
                          void *arg, struct blx_error *err)
{
    int rc = blx_agent_writer_check(writer, err);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < writer->volume_count; i++) {
        struct blx_received_volume *volume = writer->volumes[i];
        if (volume->unsynced_bytes > 0) {
            rc = blx_segment_writer_sync(volume->open, err);
            if (rc < 0)
                return blx_agent_writer_fail(writer, rc);
            volume->unsynced_bytes = 0;
        }
        if (volume->seq != volume->acked_seq) {
            volume->acked_seq = volume->seq;
            if (acked != NULL)
                acked(arg, i, volume->seq);
        }
    }
    return 0;
}
