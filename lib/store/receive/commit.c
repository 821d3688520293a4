/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint: seal, then the manifest, then the volume files. STORE.md says what a crash between
 * the steps leaves. */
#include "store/receive/agent_writer_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/units.h"
#include "store/checkpoint/manifest_file.h"
#include "store/layout_private.h"
#include "store/reserve.h"
#include "store/segment/coverage_private.h"

/* Its pass is under way: it is in no checkpoint until that has ended. */
static bool is_left_out(const struct blx_checkpoint_message *cut, uint32_t volume)
{
    return (cut->left_out >> volume & 1) != 0;
}

static int check_cut(const struct blx_agent_writer *writer,
                     const struct blx_checkpoint_message *cut, struct blx_error *err)
{
    if (writer->volume_count == 0 || cut->volume_count != writer->volume_count)
        return blx_error_set(err, -EPROTO, "the checkpoint has %u volumes, the session %u",
                             cut->volume_count, writer->volume_count);
    if (cut->consistency > BLX_CONSISTENCY_FILESYSTEM ||
        !blx_layout_text_ok(cut->note, sizeof(cut->note)))
        return blx_error_set(err, -EPROTO, "the checkpoint has no valid consistency or note");
    for (uint32_t i = 0; i < writer->volume_count; i++) {
        const struct blx_received_volume *volume = writer->volumes[i];
        if (!volume->begun)
            return blx_error_set(err, -EPROTO,
                                 "a checkpoint came before the volume '%s' began a pass",
                                 volume->info.name);
        if (is_left_out(cut, i) && volume->unreadable_count > 0)
            return blx_error_set(err, -EPROTO,
                                 "unreadable blocks came for the volume '%s', which is left out",
                                 volume->info.name);
        if (!is_left_out(cut, i) && cut->last_seq[i] != volume->seq)
            return blx_error_set(
                err, -EPROTO,
                "the checkpoint ends with frame %llu of the volume '%s', but %llu was the last one",
                (unsigned long long)cut->last_seq[i], volume->info.name,
                (unsigned long long)volume->seq);
    }
    return 0;
}

/* The cut's second, or the next free one; 0 if the clock is beyond all dates. */
static blx_timestamp choose_timestamp(const struct blx_agent_writer *writer,
                                      const struct blx_commit_times *times)
{
    blx_timestamp timestamp =
        blx_timestamp_from_unix((int64_t)(times->cut_realtime_ns / BLX_NS_PER_S));
    if (writer->agent.last_timestamp == 0 || timestamp == 0 ||
        timestamp > writer->agent.last_timestamp)
        return timestamp;
    return blx_timestamp_from_unix(blx_timestamp_to_unix(writer->agent.last_timestamp) + 1);
}

static int no_memory(const struct blx_received_volume *volume, struct blx_error *err)
{
    return blx_error_errno(err, -ENOMEM, "cannot count the changes of the volume '%s'",
                           volume->info.name);
}

static int mark_changed(const struct blx_received_volume *volume, uint32_t number,
                        struct blx_coverage *changed, struct blx_error *err)
{
    struct blx_segment_reader *reader;
    int rc = blx_segment_reader_open(volume->dir, number, &reader, err);
    if (rc < 0)
        return rc;
    const struct blx_index *index = blx_segment_reader_index(reader);
    for (size_t i = 0; rc == 0 && i < index->count; i++)
        if (blx_extent_end(index->entries[i].extent) <= changed->blocks)
            rc = blx_coverage_add(changed, index->entries[i].extent);
    blx_segment_reader_close(reader);
    return rc < 0 ? no_memory(volume, err) : 0;
}

/* Distinct blocks over several segments. */
static int count_changed(const struct blx_received_volume *volume, uint64_t *changed_blocks,
                         struct blx_error *err)
{
    *changed_blocks = volume->pending_count == 1 ? volume->pending[0].changed_blocks : 0;
    if (volume->pending_count <= 1)
        return 0;
    uint64_t declared = blx_blocks_of_bytes(volume->info.size_bytes, volume->info.block_shift);
    BLX_CLEANUP(blx_coverage_done) struct blx_coverage changed;
    if (blx_coverage_init(&changed, declared) < 0)
        return no_memory(volume, err);
    for (size_t i = 0; i < volume->pending_count; i++) {
        int rc = mark_changed(volume, volume->pending[i].number, &changed, err);
        if (rc < 0)
            return rc;
    }
    *changed_blocks = changed.covered;
    return 0;
}

/* Copied, because the commit may fail and be tried again. */
static int copy_unreadable(const struct blx_received_volume *volume,
                           struct blx_manifest_volume *out)
{
    size_t bytes = volume->unreadable_count * sizeof(volume->unreadable[0]);
    if (bytes == 0)
        return 0;
    out->unreadable = malloc(bytes);
    if (out->unreadable == NULL)
        return -ENOMEM;
    memcpy(out->unreadable, volume->unreadable, bytes);
    out->unreadable_count = volume->unreadable_count;
    return 0;
}

static int describe_volume(const struct blx_agent_writer *writer,
                           const struct blx_received_volume *volume,
                           struct blx_manifest_volume *out, struct blx_error *err)
{
    uint64_t changed_blocks;
    int rc = count_changed(volume, &changed_blocks, err);
    if (rc < 0)
        return rc;
    const struct blx_volume_info *info = &volume->info;
    memcpy(out->name, info->name, sizeof(out->name));
    memcpy(out->device, info->device, sizeof(out->device));
    /* The session may leave it out: the generation vouches for the disk. */
    memcpy(out->identity, info->identity[0] != '\0' ? info->identity : volume->file.identity,
           sizeof(out->identity));
    out->size_bytes = info->size_bytes;
    out->block_shift = info->block_shift;
    out->generation = info->generation;
    out->key_id = writer->agent.key_id;
    out->last_seq = volume->seq;
    out->base = volume->file.full_since != 0;
    out->changed_bytes = changed_blocks << info->block_shift;
    out->next_segment = volume->next_number;
    out->segments = calloc(volume->pending_count + 1, sizeof(out->segments[0]));
    if (out->segments == NULL || copy_unreadable(volume, out) < 0)
        return blx_error_errno(err, -ENOMEM, "cannot write the checkpoint");
    for (size_t i = 0; i < volume->pending_count; i++) {
        out->segments[out->segment_count++] = volume->pending[i].number;
        out->stored_bytes += volume->pending[i].stored_bytes;
    }
    return 0;
}

/* The chain goes on from here, with nothing of this instant. */
static int carry(const struct blx_manifest_volume *before, struct blx_manifest *manifest,
                 struct blx_error *err)
{
    struct blx_manifest_volume *entry = &manifest->volumes[blx_manifest_count_entries(manifest)];
    *entry = *before;
    entry->base = entry->clearing = false;
    entry->changed_bytes = entry->stored_bytes = 0;
    entry->segment_count = 0;
    entry->segments = calloc(1, sizeof(entry->segments[0]));
    entry->unreadable = calloc(before->unreadable_count + 1UL, sizeof(entry->unreadable[0]));
    manifest->carried_count++;
    if (entry->segments == NULL || entry->unreadable == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot write the checkpoint");
    for (uint32_t i = 0; i < before->unreadable_count; i++)
        entry->unreadable[i] = before->unreadable[i];
    return 0;
}

/* Whatever the last checkpoint has and this one has not: disks that are away, or left out. More
 * than a manifest may have are not carried on; such a disk begins with a base when it is back. */
static int carry_others(const struct blx_agent_writer *writer, struct blx_manifest *manifest,
                        struct blx_error *err)
{
    const struct blx_manifest *last = &writer->agent.last;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < blx_manifest_count_entries(last) &&
                         blx_manifest_count_entries(manifest) < BLX_MAX_VOLUMES;
         i++)
        if (blx_manifest_find(manifest, last->volumes[i].name) == NULL)
            rc = carry(&last->volumes[i], manifest, err);
    return rc;
}

static int describe(const struct blx_agent_writer *writer, const struct blx_checkpoint_message *cut,
                    const struct blx_commit_times *times, struct blx_manifest *manifest,
                    struct blx_error *err)
{
    manifest->timestamp = choose_timestamp(writer, times);
    manifest->parent = writer->agent.last_timestamp;
    manifest->agent_realtime_ns = cut->cut_realtime_ns;
    manifest->committed_realtime_ns = times->committed_realtime_ns;
    manifest->consistency = cut->consistency;
    manifest->freeze_ns = cut->freeze_ns;
    manifest->cut_flags = cut->cut_flags;
    memcpy(manifest->note, cut->note, sizeof(manifest->note));
    if (manifest->timestamp == 0)
        return blx_error_set(err, -EPROTO, "the checkpoint's time is out of range");
    manifest->volumes = calloc(BLX_MAX_VOLUMES, sizeof(manifest->volumes[0]));
    if (manifest->volumes == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot write the checkpoint");
    for (uint32_t i = 0; i < writer->volume_count; i++) {
        if (is_left_out(cut, i))
            continue;
        struct blx_manifest_volume *volume = &manifest->volumes[manifest->volume_count++];
        int rc = describe_volume(writer, writer->volumes[i], volume, err);
        if (rc < 0)
            return rc;
        if (!volume->base && blx_manifest_find(&writer->agent.last, volume->name) == NULL)
            return blx_error_set(err, -EPROTO,
                                 "the first checkpoint of the volume '%s' needs a full pass",
                                 volume->name);
    }
    if (manifest->volume_count == 0)
        return blx_error_set(err, -EPROTO, "the checkpoint leaves out every volume");
    return carry_others(writer, manifest, err);
}

static int seal_all(struct blx_agent_writer *writer, const struct blx_checkpoint_message *cut,
                    struct blx_error *err)
{
    for (uint32_t i = 0; i < writer->volume_count; i++) {
        if (is_left_out(cut, i))
            continue;
        int rc = blx_received_volume_make(writer->volumes[i], err);
        if (rc == 0)
            rc = blx_received_volume_seal_frames(writer->volumes[i], err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/*
 * The next checkpoint starts from here. The volume files say once more that no pass is pending. If
 * the disk fails here the checkpoint is there nevertheless, so that only the next call learns of
 * it.
 */
static void settle(struct blx_agent_writer *writer, const struct blx_checkpoint_message *cut)
{
    for (uint32_t i = 0; i < writer->volume_count; i++) {
        if (is_left_out(cut, i))
            continue;
        struct blx_received_volume *volume = writer->volumes[i];
        volume->pending_count = 0;
        volume->unreadable_count = 0;
        free(volume->unreadable);
        volume->unreadable = NULL;
        if (volume->file.full_since == 0)
            continue;
        volume->file.full_since = 0;
        blx_agent_writer_fail(writer, blx_volume_file_write(volume->dir, &volume->file, NULL));
    }
}

int blx_agent_writer_commit(struct blx_agent_writer *writer,
                            const struct blx_checkpoint_message *cut,
                            const struct blx_commit_times *times, blx_timestamp *timestamp,
                            struct blx_error *err)
{
    int rc = blx_agent_writer_check(writer, err);
    if (rc == 0)
        rc = check_cut(writer, cut, err);
    if (rc < 0)
        return rc;
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
    rc = blx_reserve_check(writer->agent.store.store, err);
    if (rc == 0)
        rc = seal_all(writer, cut, err);
    if (rc == 0)
        rc = describe(writer, cut, times, &manifest, err);
    blx_assert(rc < 0 || manifest.timestamp > manifest.parent);
    if (rc == 0)
        rc = blx_manifest_write(writer->agent.store, &manifest, err);
    if (rc < 0)
        return rc == -EPROTO ? rc : blx_agent_writer_fail(writer, rc);
    settle(writer, cut);
    blx_manifest_done(&writer->agent.last);
    writer->agent.last = manifest;
    manifest = (struct blx_manifest){0};
    writer->agent.last_timestamp = writer->agent.last.timestamp;
    writer->agent.last_damage[0] = '\0';
    *timestamp = writer->agent.last_timestamp;
    return 0;
}
