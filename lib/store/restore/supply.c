/* SPDX-License-Identifier: Apache-2.0 */
#include "store/restore/supply.h"

#include <errno.h>
#include <openssl/rand.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/array.h"
#include "base/assert.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "store/agent_lock.h"
#include "store/checkpoint/manifest_file.h"
#include "store/digest_key.h"
#include "store/restore/cut_frame_private.h"
#include "store/view/image.h"
#include "store/view/plan_private.h"
#include "store/view/stored_frame_private.h"
#include "wire/digest.h"

enum { FILES_SHARE = 32 }; /* of the process's, for each of several supplies */

struct blx_supply {
    struct blx_agent_store agent;
    blx_timestamp checkpoint;
    char volume[BLX_NAME_BYTES];
    size_t max_pieces;
    struct blx_agent_lock lock; /* holds the checkpoint between two plans */
    struct blx_plan plan;
    struct blx_stored_frame stored;
    size_t next_frame, next_entry;    /* of the pieces that are listed next */
    uint32_t next_data;               /* where that one's data begin, in a frame that is cut */
    uint64_t blocks;                  /* of the volume */
    struct blx_key_id key_id;         /* of its frames */
    struct blx_volume_key digest_key; /* of a plain volume's delta */
    bool delta;                       /* one has begun */
    struct blx_image *image;          /* owned; NULL: nobody asks for digests */
    bool cuts;                        /* the plan is of wanted blocks, and not encrypted */
    struct blx_cut_frame cut;
    struct blx_extent *wanted; /* owned */
    size_t wanted_count;
};

static int find_volume(struct blx_supply *supply, struct blx_error *err)
{
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
    int rc = blx_manifest_read(supply->agent, supply->checkpoint, &manifest, err);
    if (rc < 0)
        return rc;
    const struct blx_manifest_volume *found = blx_manifest_find(&manifest, supply->volume);
    if (found == NULL || blx_manifest_is_carried(&manifest, found))
        return blx_error_set(err, -ENOENT, "the checkpoint %llu has no volume '%s'",
                             (unsigned long long)supply->checkpoint, supply->volume);
    supply->blocks = blx_blocks_of_bytes(found->size_bytes, found->block_shift);
    supply->key_id = found->key_id;
    return 0;
}

int blx_supply_open(const struct blx_supply_request *request, struct blx_supply **supply,
                    struct blx_error *err)
{
    struct blx_supply *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot read what is stored");
    made->agent = request->agent;
    made->checkpoint = request->checkpoint;
    made->max_pieces = request->max_pieces != 0 ? request->max_pieces : BLX_PLAN_MAX_PIECES;
    made->lock.fd = -1;
    blx_text_set(made->volume, request->volume);
    int rc = blx_agent_lock_begin(made->agent, made->checkpoint, &made->lock, err);
    if (rc == 0)
        rc = find_volume(made, err);
    blx_agent_lock_release(&made->lock, BLX_LOCK_CHAINS);
    if (rc < 0) {
        blx_supply_close(made);
        return rc;
    }
    *supply = made;
    return 0;
}

void blx_supply_close(struct blx_supply *supply)
{
    if (supply == NULL)
        return;
    blx_plan_done(&supply->plan);
    blx_stored_frame_done(&supply->stored);
    blx_cut_frame_done(&supply->cut);
    blx_image_close(supply->image);
    blx_volume_key_wipe(&supply->digest_key);
    free(supply->wanted);
    blx_agent_lock_close(&supply->lock);
    free(supply);
}

static size_t files_to_keep(void)
{
    struct rlimit files;
    return getrlimit(RLIMIT_NOFILE, &files) == 0 ? (size_t)files.rlim_cur / FILES_SHARE : 0;
}

static int random_key(struct blx_volume_key *key, struct blx_error *err)
{
    if (RAND_bytes(key->digest, sizeof(key->digest)) == 1 &&
        RAND_bytes(key->id.bytes, sizeof(key->id.bytes)) == 1)
        return 0;
    return blx_error_set(err, -EIO, "cannot get random numbers");
}

/* Without the key that the stored digests were made with, any other does: they are made again. */
static int find_digest_key(struct blx_supply *supply, struct blx_error *err)
{
    struct blx_error cause = {0};
    int rc = blx_digest_key_find(supply->agent, supply->volume, &supply->digest_key, &cause);
    if (rc == 0 || rc == -EBADMSG)
        return random_key(&supply->digest_key, err);
    return rc < 0 ? blx_error_copy(err, rc, &cause) : 0;
}

int blx_supply_begin_delta(struct blx_supply *supply, struct blx_delta_key *key,
                           struct blx_error *err)
{
    *key = (struct blx_delta_key){.key_id = supply->key_id};
    if (blx_key_id_is_none(&supply->key_id)) {
        int rc = supply->delta ? 0 : find_digest_key(supply, err);
        if (rc < 0)
            return rc;
        memcpy(key->key, supply->digest_key.digest, sizeof(key->key));
    }
    supply->delta = true;
    return 0;
}

static int open_image(struct blx_supply *supply, struct blx_error *err)
{
    bool plain = blx_key_id_is_none(&supply->key_id);
    if (supply->image != NULL)
        return 0;
    blx_plan_done(&supply->plan); /* there is memory for one of the two */
    return blx_image_open_checkpoint(supply->agent, supply->checkpoint, supply->volume,
                                     plain ? &supply->digest_key.id : &supply->key_id,
                                     plain ? &supply->digest_key : NULL, &supply->image, err);
}

int blx_supply_digest(struct blx_supply *supply, const struct blx_digest_request *request,
                      struct blx_digests *digests, struct blx_error *damage, struct blx_error *err)
{
    if (!supply->delta)
        return blx_error_set(err, -EPROTO, "nobody has asked for the key of digests");
    if (blx_digest_request_end(request) > supply->blocks)
        return blx_error_set(err, -EPROTO, "digests were asked for beyond the end of '%s'",
                             supply->volume);
    int rc = open_image(supply, err);
    return rc < 0 ? rc : blx_image_digest(supply->image, request, digests, damage, err);
}

int blx_supply_want(struct blx_supply *supply, const struct blx_delta_wanted *wanted,
                    struct blx_error *err)
{
    uint64_t end =
        supply->wanted_count > 0 ? blx_extent_end(supply->wanted[supply->wanted_count - 1]) : 0;
    if (supply->wanted_count + wanted->count > BLX_DELTA_MAX_WANTED)
        return blx_error_set(err, -EPROTO, "more than %d extents are wanted at a time",
                             BLX_DELTA_MAX_WANTED);
    if (wanted->extents[0].start_block < end ||
        blx_extent_end(wanted->extents[wanted->count - 1]) > supply->blocks)
        return blx_error_set(err, -EPROTO, "wanted blocks of '%s' are in disorder", supply->volume);
    for (uint32_t i = 0; i < wanted->count; i++) {
        if (blx_array_make_room(supply->wanted, supply->wanted_count) < 0)
            return blx_error_errno(err, -ENOMEM, "cannot plan the restore");
        supply->wanted[supply->wanted_count++] = wanted->extents[i];
    }
    return 0;
}

/* Of what is wanted, or of all. */
static int make_plan(struct blx_supply *supply, uint64_t start_block, struct blx_error *err)
{
    struct blx_plan *plan = &supply->plan;
    plan->max_entries = supply->max_pieces;
    plan->max_files = files_to_keep();
    plan->start_block = start_block;
    if (supply->wanted_count > 0) {
        plan->wanted = supply->wanted;
        plan->wanted_count = supply->wanted_count;
        plan->end_block = blx_extent_end(supply->wanted[supply->wanted_count - 1]);
    }
    if (start_block >= (plan->end_block != 0 ? plan->end_block : supply->blocks))
        return blx_error_set(err, -EPROTO, "no window of '%s' begins at its block %llu",
                             supply->volume, (unsigned long long)start_block);
    int rc = blx_plan_make(supply->agent, supply->checkpoint, supply->volume, plan, err);
    plan->wanted = NULL;
    return rc;
}

int blx_supply_plan(struct blx_supply *supply, uint64_t start_block,
                    struct blx_supply_window *window, struct blx_error *err)
{
    struct blx_plan *plan = &supply->plan;
    blx_plan_done(plan);
    blx_image_close(supply->image);
    supply->image = NULL;
    supply->next_frame = supply->next_entry = 0;
    supply->next_data = 0;
    supply->cuts = supply->wanted_count > 0 && blx_key_id_is_none(&supply->key_id);
    int rc = make_plan(supply, start_block, err);
    free(supply->wanted);
    supply->wanted = NULL;
    supply->wanted_count = 0;
    if (rc < 0) {
        blx_plan_done(plan);
        return rc;
    }
    *window = (struct blx_supply_window){
        .end_block = plan->end_block != 0 ? plan->end_block : supply->blocks,
        .frame_count = (uint32_t)plan->frame_count,
        .piece_count = (uint32_t)plan->index.count,
    };
    return 0;
}

static const struct blx_index_entry *entry_of(const struct blx_supply *supply, uint32_t number)
{
    blx_assert(number < supply->plan.frame_count);
    return &supply->plan.index.entries[supply->plan.frames[number].first];
}

/* 0: it is sent as it is stored. */
static uint32_t cut_bound(const struct blx_supply *supply, const struct blx_plan_frame *frame)
{
    return supply->cuts ? blx_cut_frame_bound(&supply->plan, frame) : 0;
}

uint32_t blx_supply_frame_bytes(const struct blx_supply *supply, uint32_t number)
{
    blx_assert(number < supply->plan.frame_count);
    uint32_t bound = cut_bound(supply, &supply->plan.frames[number]);
    return bound != 0 ? bound : entry_of(supply, number)->frame_bytes;
}

static void describe_piece(const struct blx_supply *supply, const struct blx_index_entry *entry,
                           struct blx_plan_piece *piece)
{
    bool first = supply->next_entry == 0;
    bool is_cut = cut_bound(supply, &supply->plan.frames[supply->next_frame]) != 0;
    *piece = (struct blx_plan_piece){
        .start_block = entry->extent.start_block,
        .block_count = (uint32_t)entry->extent.block_count,
        .data_block = is_cut ? supply->next_data : entry->data_block,
        .frame_bytes = first ? blx_supply_frame_bytes(supply, (uint32_t)supply->next_frame) : 0,
    };
}

size_t blx_supply_list_pieces(struct blx_supply *supply, struct blx_plan_piece *pieces, size_t most)
{
    const struct blx_plan *plan = &supply->plan;
    size_t count = 0;
    while (count < most && supply->next_frame < plan->frame_count) {
        const struct blx_plan_frame *frame = &plan->frames[supply->next_frame];
        const struct blx_index_entry *entry =
            &plan->index.entries[frame->first + supply->next_entry];
        describe_piece(supply, entry, &pieces[count++]);
        supply->next_data += (uint32_t)entry->extent.block_count;
        if (++supply->next_entry == frame->count) {
            supply->next_frame++;
            supply->next_entry = 0;
            supply->next_data = 0;
        }
    }
    return count;
}

void blx_supply_prefetch(const struct blx_supply *supply, uint32_t number)
{
    const struct blx_index_entry *entry = entry_of(supply, number);
    blx_segment_reader_prefetch(supply->plan.segments[entry->segment], entry->frame_offset,
                                entry->frame_bytes);
}

int blx_supply_read(struct blx_supply *supply, uint32_t number, const uint8_t **bytes,
                    uint32_t *frame_bytes, struct blx_error *err)
{
    const struct blx_index_entry *entry = entry_of(supply, number);
    const struct blx_plan_frame *planned = &supply->plan.frames[number];
    if (cut_bound(supply, planned) != 0)
        return blx_cut_frame_make(&supply->cut, &supply->plan, planned, bytes, frame_bytes, err);
    int rc =
        blx_stored_frame_fetch(&supply->stored, supply->plan.segments[entry->segment], entry, err);
    if (rc < 0)
        return rc;
    *bytes = supply->stored.packed.bytes;
    *frame_bytes = entry->frame_bytes;
    return 0;
}
