/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which checkpoints a damage hurts: one pass from the oldest checkpoint to the newest for each
 * volume, which carries along the blocks whose newest state lies in a damaged frame, and takes off
 * the blocks that each checkpoint overwrites. So the cost is that of reading each index once,
 * however many damages there are; BLX_VERIFY_WAYS bounds it for a store that no dispatcher wrote.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "store/checkpoint/manifest_file.h"
#include "store/segment/segment_check_private.h"
#include "store/verify/verify_agent_private.h"
#include "store/verify/verify_report_private.h"

/* Blocks whose newest state is damaged, as of the checkpoint `at`. */
struct live {
    struct blx_extent extent;
    size_t damage;
};

enum { LEFT_OVER = 1 };

/* What a volume's chain has come to. */
struct chain {
    const struct blx_verify_agent *agent;
    const struct blx_verify_volume *volume;
    struct blx_verify_report *report;
    const struct blx_verify_link *judged; /* the checkpoint that is to be reached */
    blx_timestamp at;                     /* 0: nowhere yet */
    size_t left;                          /* steps and segments that are still gone */
    struct live *live;
    size_t live_count;
    size_t *broken; /* damages without which no checkpoint of the chain can be read */
    size_t broken_count;
    const struct blx_verify_link **way; /* down to what the chain is at; owned */
    size_t way_count;
};

static void chain_done(struct chain *chain)
{
    free(chain->live);
    free(chain->broken);
    free(chain->way);
}

static int no_memory(const struct chain *chain, struct blx_error *err)
{
    return blx_error_errno(err, -ENOMEM, "cannot verify the agent '%s'", chain->agent->store.id);
}

static int add_live(struct chain *chain, struct live live)
{
    if (blx_array_make_room(chain->live, chain->live_count) < 0)
        return -ENOMEM;
    chain->live[chain->live_count++] = live;
    return 0;
}

static int add_broken(struct chain *chain, size_t damage)
{
    if (blx_array_make_room(chain->broken, chain->broken_count) < 0)
        return -ENOMEM;
    chain->broken[chain->broken_count++] = damage;
    return 0;
}

/* What of `live` the index does not overwrite. */
static int keep_rest(struct chain *chain, const struct live *live, const struct blx_index *index)
{
    uint64_t block = live->extent.start_block, end = block + live->extent.block_count;
    while (block < end) {
        const struct blx_index_entry *entry = blx_index_find(index, block);
        uint64_t covered = entry == NULL ? end : entry->extent.start_block;
        if (covered > block) {
            uint64_t until = covered < end ? covered : end;
            int rc = add_live(chain, (struct live){{block, until - block}, live->damage});
            if (rc < 0)
                return rc;
        }
        if (entry == NULL || covered >= end)
            break;
        block = entry->extent.start_block + entry->extent.block_count;
    }
    return 0;
}

static int overwrite(struct chain *chain, const struct blx_index *index)
{
    BLX_CLEANUP_FREE struct live *before = chain->live;
    size_t count = chain->live_count;
    chain->live = NULL;
    chain->live_count = 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = keep_rest(chain, &before[i], index);
    return rc;
}

/* By its stored index, or by its frames. One that has neither overwrites nothing that is known.
 */
static int overwrite_by(struct chain *chain, uint32_t number, unsigned block_shift)
{
    struct blx_segment_reader *reader = NULL;
    bool complete;
    int rc = blx_segment_reader_open(chain->volume->dir, number, &reader, NULL);
    if (rc < 0 && rc != -ENOMEM)
        rc = blx_segment_reader_salvage(chain->volume->dir, number, block_shift, &reader, &complete,
                                        NULL);
    if (rc < 0)
        return rc == -ENOMEM ? rc : 0;
    rc = overwrite(chain, blx_segment_reader_index(reader));
    blx_segment_reader_close(reader);
    return rc;
}

/* The chain goes on by one segment. */
static int take_segment(struct chain *chain, uint32_t number, unsigned block_shift)
{
    const struct blx_verify_segment *segment = blx_verify_volume_segment(chain->volume, number);
    int rc = chain->live_count == 0 ? 0 : overwrite_by(chain, number, block_shift);
    for (size_t i = 0; rc == 0 && segment != NULL && i < segment->damage_count; i++) {
        size_t number_of = segment->first_damage + i;
        const struct blx_damage *damage = &chain->report->damages[number_of];
        if (segment->gone || segment->findings.faults[i].whole)
            rc = add_broken(chain, number_of);
        for (size_t e = 0; rc == 0 && e < damage->extent_count; e++)
            rc = add_live(chain, (struct live){damage->extents[e], number_of});
    }
    return rc;
}

static const struct blx_verify_checkpoint *find_checkpoint(const struct blx_verify_agent *agent,
                                                           blx_timestamp timestamp)
{
    size_t low = 0, high = agent->checkpoint_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (agent->checkpoints[middle].timestamp < timestamp)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == agent->checkpoint_count || agent->checkpoints[low].timestamp != timestamp)
        return NULL;
    return &agent->checkpoints[low];
}

/* A damage of a manifest that is found by way of another. merge_broken() makes one of those that
 * several chains lead to. */
static int break_chain(struct chain *chain, blx_timestamp at, const char *cause)
{
    struct blx_verify_report *report = chain->report;
    char path[PATH_MAX], dir[PATH_MAX], text[BLX_TIMESTAMP_TEXT_BYTES];
    blx_timestamp_format(at, text);
    int rc = blx_manifest_dir(chain->agent->store, dir, NULL);
    if (rc == 0)
        rc = blx_path_format(path, sizeof(path), NULL, "%s/%s", dir, text);
    if (rc < 0)
        return rc;
    struct blx_damage *damage = blx_verify_report_add(report, chain->agent->store, "", path);
    if (damage == NULL)
        return -ENOMEM;
    blx_text_set(damage->cause, cause);
    return add_broken(chain, report->damage_count - 1);
}

static void clear(struct chain *chain)
{
    chain->live_count = 0;
    chain->broken_count = 0;
    chain->at = 0;
}

/*
 * Whether a prune has begun to remove the judged checkpoint: a later one builds upon an older one
 * instead. A prune removes the newest of several first, so that a crash leaves whole chains. A
 * power cut may keep these removals in another order: then one that is still there lacks what it
 * builds upon. That is no damage, since nobody builds upon it, and the next prune removes it.
 */
static bool is_left_over(const struct chain *chain)
{
    const struct blx_verify_checkpoint *checkpoint = chain->judged->checkpoint;
    return checkpoint->least_parent_after < checkpoint->timestamp;
}

static bool fits(const struct blx_manifest_volume *before, const struct blx_manifest_volume *volume)
{
    return before->size_bytes <= volume->size_bytes && before->block_shift == volume->block_shift;
}

/* Where the way down a volume's chain goes on. */
enum step {
    STEP_DOWN,     /* at the parent */
    STEP_ARRIVED,  /* here: it is a base, the chain is at its parent, or it is broken there */
    STEP_LEFT_OVER /* nowhere: a prune has begun to remove it */
};

static int arrive(int rc)
{
    return rc < 0 ? rc : STEP_ARRIVED;
}

/* An enum step, or -ENOMEM. `parent` is set if it goes on there. */
static int step_down(struct chain *chain, const struct blx_verify_link *link,
                     const struct blx_verify_link **parent)
{
    blx_timestamp timestamp = link->checkpoint->manifest.parent;
    const struct blx_verify_checkpoint *found = find_checkpoint(chain->agent, timestamp);
    const struct blx_verify_link *before =
        found == NULL || found->damaged ? NULL : blx_verify_volume_link(chain->volume, timestamp);
    if (!link->entry->base && timestamp != 0 && timestamp == chain->at && before != NULL &&
        fits(before->entry, link->entry))
        return STEP_ARRIVED;
    clear(chain);
    if (link->entry->base)
        return STEP_ARRIVED;
    if (timestamp == 0)
        return arrive(
            break_chain(chain, link->checkpoint->timestamp, "it has no base and no parent"));
    if (found == NULL && is_left_over(chain))
        return STEP_LEFT_OVER;
    if (found == NULL)
        return arrive(break_chain(chain, timestamp, "it is missing, and others build upon it"));
    if (found->damaged)
        return arrive(add_broken(chain, found->damage));
    if (before == NULL)
        return arrive(break_chain(chain, link->checkpoint->timestamp,
                                  "its parent does not have a volume that it builds upon"));
    if (!fits(before->entry, link->entry))
        return arrive(break_chain(chain, link->checkpoint->timestamp,
                                  "its parent has a volume that it builds upon with another size"));
    *parent = before;
    return STEP_DOWN;
}

static int take_checkpoint(struct chain *chain, const struct blx_verify_link *link)
{
    const struct blx_manifest_volume *entry = link->entry;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < entry->segment_count; i++)
        rc = take_segment(chain, entry->segments[i], entry->block_shift);
    chain->at = link->checkpoint->timestamp;
    return rc;
}

/* Whether the way, with the lists of segments on it, is one that is still gone. */
static bool is_affordable(struct chain *chain, const struct blx_verify_link *link)
{
    size_t cost = 1 + (size_t)link->entry->segment_count;
    bool affordable = cost <= chain->left;
    chain->left -= affordable ? cost : chain->left;
    return affordable;
}

static int give_up(struct chain *chain)
{
    clear(chain);
    chain->at = chain->judged->checkpoint->timestamp;
    return break_chain(chain, chain->at,
                       "nobody has looked what it builds upon: too many checkpoints of this volume "
                       "build upon another than the last one, or name the same segments");
}

/* Brings the chain to the judged checkpoint, which has the volume; or LEFT_OVER. The way down is a
 * list and no recursion: how long it is the store says, and parents are always older. */
static int follow(struct chain *chain)
{
    const struct blx_verify_link *link = chain->judged;
    int rc = STEP_DOWN;
    chain->way_count = 0;
    while (rc == STEP_DOWN) {
        if (!is_affordable(chain, link))
            return give_up(chain);
        if (blx_array_make_room(chain->way, chain->way_count) < 0)
            return -ENOMEM;
        chain->way[chain->way_count++] = link;
        rc = step_down(chain, link, &link);
    }
    if (rc != STEP_ARRIVED)
        return rc < 0 ? rc : LEFT_OVER;
    for (rc = 0; rc == 0 && chain->way_count > 0;)
        rc = take_checkpoint(chain, chain->way[--chain->way_count]);
    return rc;
}

static int note_hurt(const struct chain *chain)
{
    struct blx_damage *damages = chain->report->damages;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < chain->live_count; i++)
        rc = blx_damage_hurts(&damages[chain->live[i].damage], chain->at);
    for (size_t i = 0; rc == 0 && i < chain->broken_count; i++)
        rc = blx_damage_hurts(&damages[chain->broken[i]], chain->at);
    return rc;
}

static int judge_volume(const struct blx_verify_agent *agent,
                        const struct blx_verify_volume *volume, struct blx_verify_report *report,
                        struct blx_error *err)
{
    BLX_CLEANUP(chain_done)
    struct chain chain = {
        .agent = agent,
        .volume = volume,
        .report = report,
        .left = BLX_VERIFY_WAYS * (volume->link_count + volume->segment_count) + BLX_VERIFY_MORE,
    };
    for (size_t i = 0; i < volume->link_count; i++) {
        const struct blx_verify_link *link = &volume->links[i];
        chain.judged = link;
        int rc = follow(&chain);
        if (rc == LEFT_OVER)
            clear(&chain);
        else if (rc == 0 && !blx_manifest_is_carried(&link->checkpoint->manifest, link->entry))
            rc = note_hurt(&chain);
        if (rc < 0)
            return no_memory(&chain, err);
    }
    return 0;
}

static int add_fault(const struct blx_verify_agent *agent, const struct blx_verify_volume *volume,
                     const struct blx_verify_segment *segment,
                     const struct blx_segment_fault *fault, const char *path,
                     struct blx_verify_report *report)
{
    struct blx_damage *damage = blx_verify_report_add(report, agent->store, volume->name, path);
    if (damage == NULL)
        return -ENOMEM;
    damage->offset_bytes = fault->offset_bytes;
    damage->bytes = fault->bytes;
    damage->scope = segment->named ? BLX_DAMAGE_COMMITTED : BLX_DAMAGE_UNCOMMITTED;
    damage->block_shift = segment->findings.block_shift;
    memcpy(damage->cause, fault->what, sizeof(fault->what));
    if (fault->extent_count == 0)
        return 0;
    damage->extents = calloc(fault->extent_count, sizeof(damage->extents[0]));
    if (damage->extents == NULL)
        return -ENOMEM;
    damage->extent_count = fault->extent_count;
    memcpy(damage->extents, &segment->findings.extents[fault->first_extent],
           fault->extent_count * sizeof(damage->extents[0]));
    return 0;
}

/* A segment's faults become damages. */
static int report_segment(const struct blx_verify_agent *agent,
                          const struct blx_verify_volume *volume,
                          struct blx_verify_segment *segment, struct blx_verify_report *report,
                          struct blx_error *err)
{
    static const struct blx_segment_fault missing = {.whole = true, .what = "it is missing"};
    const struct blx_segment_findings *findings = &segment->findings;
    char path[PATH_MAX];
    int rc = segment->number == 0
                 ? blx_path_format(path, sizeof(path), err, "%s/open.seg", volume->dir)
                 : blx_segment_path(volume->dir, segment->number, path, err);
    segment->first_damage = report->damage_count;
    if (rc == 0 && segment->gone && segment->named)
        rc = add_fault(agent, volume, segment, &missing, path, report);
    for (size_t i = 0; rc == 0 && i < findings->fault_count; i++)
        rc = add_fault(agent, volume, segment, &findings->faults[i], path, report);
    if (rc == -ENOMEM)
        return blx_error_errno(err, rc, "cannot verify the agent '%s'", agent->store.id);
    segment->damage_count = report->damage_count - segment->first_damage;
    report->segments += !segment->gone;
    report->frames += findings->frame_count;
    report->checked_bytes += findings->file_bytes;
    report->torn_bytes += findings->torn_bytes;
    return rc;
}

static int compare_timestamps(const void *a, const void *b)
{
    blx_timestamp x = *(const blx_timestamp *)a, y = *(const blx_timestamp *)b;
    return x < y ? -1 : x > y;
}

/* A manifest's damage was found once for each volume. */
static void sort_checkpoints(struct blx_damage *damage)
{
    size_t kept = 0;
    if (damage->checkpoint_count > 0)
        qsort(damage->checkpoints, damage->checkpoint_count, sizeof(damage->checkpoints[0]),
              compare_timestamps);
    for (size_t i = 0; i < damage->checkpoint_count; i++)
        if (kept == 0 || damage->checkpoints[kept - 1] != damage->checkpoints[i])
            damage->checkpoints[kept++] = damage->checkpoints[i];
    damage->checkpoint_count = kept;
}

static int compare_damages(const void *a, const void *b)
{
    const struct blx_damage *x = a, *y = b;
    int order = strcmp(x->file, y->file);
    return order != 0 ? order : strcmp(x->cause, y->cause);
}

/* Several chains may have led to one damage of break_chain(): those from `first` on. */
static int merge_broken(struct blx_verify_report *report, size_t first)
{
    struct blx_damage *damages = report->damages;
    size_t count = report->damage_count, kept = first;
    if (count > first)
        qsort(&damages[first], count - first, sizeof(damages[0]), compare_damages);
    int rc = 0;
    for (size_t i = first; i < count; i++) {
        if (kept == first || compare_damages(&damages[kept - 1], &damages[i]) != 0) {
            damages[kept++] = damages[i];
            continue;
        }
        for (size_t c = 0; rc == 0 && c < damages[i].checkpoint_count; c++)
            rc = blx_damage_hurts(&damages[kept - 1], damages[i].checkpoints[c]);
        free(damages[i].file);
        free(damages[i].checkpoints);
    }
    report->damage_count = kept;
    return rc;
}

/* Room in a list for all of the agent's checkpoints. */
static int make_room(struct blx_hurt **list, size_t count, const struct blx_verify_agent *agent)
{
    struct blx_hurt *grown =
        reallocarray(*list, count + agent->checkpoint_count + 1, sizeof(grown[0]));
    if (grown == NULL)
        return -ENOMEM;
    *list = grown;
    return 0;
}

static void list_checkpoint(struct blx_hurt *list, size_t *count,
                            const struct blx_verify_agent *agent, blx_timestamp timestamp,
                            bool newest)
{
    struct blx_hurt *entry = &list[(*count)++];
    *entry = (struct blx_hurt){.checkpoint = timestamp, .newest = newest};
    memcpy(entry->agent_id, agent->store.id, strlen(agent->store.id) + 1);
}

/* A bit for each checkpoint that a damage hurts; to be freed. NULL if memory is short. */
static uint64_t *find_hurt(const struct blx_verify_agent *agent, size_t first_damage,
                           const struct blx_verify_report *report)
{
    uint64_t *hurt = calloc(blx_bitmap_words(agent->checkpoint_count) + 1, sizeof(hurt[0]));
    for (size_t d = first_damage; hurt != NULL && d < report->damage_count; d++) {
        const struct blx_damage *damage = &report->damages[d];
        for (size_t c = 0; c < damage->checkpoint_count; c++) {
            const struct blx_verify_checkpoint *found =
                find_checkpoint(agent, damage->checkpoints[c]);
            if (found != NULL)
                blx_bitmap_set(hurt,
                               (struct blx_extent){(uint64_t)(found - agent->checkpoints), 1});
        }
    }
    return hurt;
}

static int sum_up(const struct blx_verify_agent *agent, size_t first_damage,
                  struct blx_verify_report *report)
{
    BLX_CLEANUP_FREE uint64_t *hurt = find_hurt(agent, first_damage, report);
    if (hurt == NULL || make_room(&report->hurt, report->hurt_count, agent) < 0 ||
        make_room(&report->unreadable, report->unreadable_count, agent) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < agent->checkpoint_count; i++) {
        blx_timestamp timestamp = agent->checkpoints[i].timestamp;
        bool newest = i + 1 == agent->checkpoint_count;
        if (blx_bitmap_test(hurt, i))
            list_checkpoint(report->hurt, &report->hurt_count, agent, timestamp, newest);
        if (blx_manifest_unreadable_bytes(&agent->checkpoints[i].manifest) > 0)
            list_checkpoint(report->unreadable, &report->unreadable_count, agent, timestamp,
                            newest);
    }
    return 0;
}

int blx_verify_agent_judge(struct blx_verify_agent *agent, struct blx_verify_report *report,
                           struct blx_error *err)
{
    size_t first_damage = report->damage_count;
    while (first_damage > 0 &&
           strcmp(report->damages[first_damage - 1].agent_id, agent->store.id) == 0)
        first_damage--; /* found when the agent was opened */
    int rc = 0;
    for (size_t v = 0; v < agent->volume_count; v++)
        for (size_t s = 0; rc == 0 && s < agent->volumes[v].segment_count; s++)
            rc = report_segment(agent, &agent->volumes[v], &agent->volumes[v].segments[s], report,
                                err);
    for (size_t i = 0; rc == 0 && i < agent->checkpoint_count; i++)
        if (agent->checkpoints[i].damaged)
            rc = blx_damage_hurts(&report->damages[agent->checkpoints[i].damage],
                                  agent->checkpoints[i].timestamp);
    size_t first_broken = report->damage_count;
    for (size_t v = 0; rc == 0 && v < agent->volume_count; v++)
        rc = judge_volume(agent, &agent->volumes[v], report, err);
    if (rc == 0)
        rc = merge_broken(report, first_broken);
    for (size_t d = first_damage; d < report->damage_count; d++)
        sort_checkpoints(&report->damages[d]);
    if (rc == 0)
        rc = sum_up(agent, first_damage, report);
    if (rc == -ENOMEM)
        return blx_error_errno(err, rc, "cannot verify the agent '%s'", agent->store.id);
    return rc;
}
