/* SPDX-License-Identifier: Apache-2.0 */
#include "store/restore/supply.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "store/agent_lock.h"
#include "store/checkpoint/manifest_file.h"
#include "store/view/plan_private.h"
#include "store/view/stored_frame_private.h"

enum { FILES_SHARE = 32 }; /* of the process's, for each of several supplies */

struct blx_supply {
    struct blx_agent_store agent;
    blx_timestamp checkpoint;
    char volume[BLX_NAME_BYTES];
    size_t max_pieces;
    struct blx_agent_lock lock; /* holds the checkpoint between two plans */
    struct blx_plan plan;
    struct blx_stored_frame stored;
    size_t next_frame, next_entry; /* of the pieces that are listed next */
};

static int check_volume(struct blx_agent_store agent, blx_timestamp checkpoint, const char *volume,
                        struct blx_error *err)
{
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
    int rc = blx_manifest_read(agent, checkpoint, &manifest, err);
    if (rc < 0)
        return rc;
    const struct blx_manifest_volume *found = blx_manifest_find(&manifest, volume);
    if (found != NULL && !blx_manifest_is_carried(&manifest, found))
        return 0;
    return blx_error_set(err, -ENOENT, "the checkpoint %llu has no volume '%s'",
                         (unsigned long long)checkpoint, volume);
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
        rc = check_volume(made->agent, made->checkpoint, made->volume, err);
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
    blx_agent_lock_close(&supply->lock);
    free(supply);
}

static size_t files_to_keep(void)
{
    struct rlimit files;
    return getrlimit(RLIMIT_NOFILE, &files) == 0 ? (size_t)files.rlim_cur / FILES_SHARE : 0;
}

int blx_supply_plan(struct blx_supply *supply, uint64_t start_block,
                    struct blx_supply_window *window, struct blx_error *err)
{
    struct blx_plan *plan = &supply->plan;
    blx_plan_done(plan);
    supply->next_frame = supply->next_entry = 0;
    plan->max_entries = supply->max_pieces;
    plan->max_files = files_to_keep();
    plan->start_block = start_block;
    int rc = blx_plan_make(supply->agent, supply->checkpoint, supply->volume, plan, err);
    uint64_t blocks = blx_blocks_of_bytes(plan->size_bytes, plan->block_shift);
    if (rc == 0 && start_block >= blocks)
        rc = blx_error_set(err, -EPROTO, "no window of '%s' begins at its block %llu",
                           supply->volume, (unsigned long long)start_block);
    if (rc < 0) {
        blx_plan_done(plan);
        return rc;
    }
    *window = (struct blx_supply_window){
        .end_block = plan->end_block != 0 ? plan->end_block : blocks,
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

size_t blx_supply_list_pieces(struct blx_supply *supply, struct blx_plan_piece *pieces, size_t most)
{
    const struct blx_plan *plan = &supply->plan;
    size_t count = 0;
    while (count < most && supply->next_frame < plan->frame_count) {
        const struct blx_plan_frame *frame = &plan->frames[supply->next_frame];
        const struct blx_index_entry *entry =
            &plan->index.entries[frame->first + supply->next_entry];
        pieces[count++] = (struct blx_plan_piece){
            .start_block = entry->extent.start_block,
            .block_count = (uint32_t)entry->extent.block_count,
            .data_block = entry->data_block,
            .frame_bytes = supply->next_entry == 0 ? entry->frame_bytes : 0,
        };
        if (++supply->next_entry == frame->count) {
            supply->next_frame++;
            supply->next_entry = 0;
        }
    }
    return count;
}

uint32_t blx_supply_frame_bytes(const struct blx_supply *supply, uint32_t number)
{
    return entry_of(supply, number)->frame_bytes;
}

void blx_supply_prefetch(const struct blx_supply *supply, uint32_t number)
{
    const struct blx_index_entry *entry = entry_of(supply, number);
    blx_segment_reader_prefetch(supply->plan.segments[entry->segment], entry->frame_offset,
                                entry->frame_bytes);
}

int blx_supply_read(struct blx_supply *supply, uint32_t number, const uint8_t **bytes,
                    struct blx_error *err)
{
    const struct blx_index_entry *entry = entry_of(supply, number);
    int rc =
        blx_stored_frame_fetch(&supply->stored, supply->plan.segments[entry->segment], entry, err);
    if (rc == 0)
        *bytes = supply->stored.packed.bytes;
    return rc;
}
