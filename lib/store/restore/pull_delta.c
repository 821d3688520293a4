/* SPDX-License-Identifier: Apache-2.0 */
/* The plans of a delta: of the blocks alone in which the target differs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/restore/compare_private.h"

/* Comparing goes on until so many extents differ: a part of the volume has at most as many again,
 * and together they are no more than a dispatcher takes. */
enum { ENOUGH_EXTENTS = BLX_DELTA_MAX_WANTED / 2 };

struct blx_pull_delta {
    struct blx_pull *pull;
    uint32_t volume;
    struct blx_compare *compare;    /* owned */
    uint64_t compared;              /* the blocks before this one are compared */
    struct blx_compare_list differ; /* owned; and these of them differ */
    const struct blx_restore_progress *progress;
};

int blx_pull_delta_new(struct blx_pull *pull, uint32_t volume, const struct blx_volume_key *key,
                       const struct blx_restore_progress *progress, struct blx_pull_delta **delta,
                       struct blx_error *err)
{
    struct blx_pull_delta *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot compare");
    made->pull = pull;
    made->volume = volume;
    made->progress = progress;
    int rc = blx_compare_new(pull, volume, key, &made->compare, err);
    if (rc < 0) {
        free(made);
        return rc;
    }
    *delta = made;
    return 0;
}

void blx_pull_delta_free(struct blx_pull_delta *delta)
{
    if (delta == NULL)
        return;
    blx_compare_free(delta->compare);
    free(delta->differ.extents);
    free(delta);
}

void blx_pull_delta_attach(struct blx_pull_delta *delta, const struct blx_restore_output *output)
{
    blx_compare_attach(delta->compare, output, delta->progress);
}

void blx_pull_delta_reconnected(struct blx_pull_delta *delta)
{
    blx_compare_reconnected(delta->compare);
}

/* What lies before the window is written. */
static void pass(struct blx_compare_list *differ, uint64_t start_block)
{
    size_t passed = 0;
    while (passed < differ->count && blx_extent_end(differ->extents[passed]) <= start_block)
        passed++;
    differ->count -= passed;
    if (differ->count == 0)
        return;
    memmove(differ->extents, differ->extents + passed, differ->count * sizeof(differ->extents[0]));
    struct blx_extent *first = &differ->extents[0];
    uint64_t end = blx_extent_end(*first);
    if (first->start_block < start_block)
        *first = (struct blx_extent){start_block, end - start_block};
}

static int compare(struct blx_pull_delta *delta, uint64_t blocks, struct blx_error *err)
{
    int rc = 0;
    while (rc == 0 && delta->compared < blocks && delta->differ.count < ENOUGH_EXTENTS)
        rc = blx_compare_next(delta->compare, &delta->compared, &delta->differ, err);
    return rc;
}

static int say_wanted(struct blx_pull_delta *delta, const struct blx_extent *extents, size_t count,
                      struct blx_error *err)
{
    struct blx_message message = {.type = BLX_MESSAGE_DELTA_WANTED,
                                  .delta_wanted = {.volume = delta->volume}};
    struct blx_delta_wanted *wanted = &message.delta_wanted;
    int rc = 0;
    for (size_t told = 0; rc == 0 && told < count; told += wanted->count) {
        size_t left = count - told;
        wanted->count =
            (uint32_t)(left < BLX_DELTA_WANTED_OF_A_MESSAGE ? left : BLX_DELTA_WANTED_OF_A_MESSAGE);
        memcpy(wanted->extents, extents + told, wanted->count * sizeof(extents[0]));
        rc = blx_pull_send(delta->pull, &message, err);
    }
    return rc;
}

/* Both are ascending. Beyond what is wanted nothing need be compared yet, so a window that ends
 * there would have it pass for done. */
static int check_wanted(const struct blx_plan *plan, struct blx_error *err)
{
    uint64_t blocks = blx_blocks_of_bytes(plan->size_bytes, plan->block_shift);
    uint64_t end = plan->end_block != 0 ? plan->end_block : blocks;
    size_t at = 0;
    if (end > blx_extent_end(plan->wanted[plan->wanted_count - 1]))
        return blx_error_set(err, -EPROTO,
                             "the dispatcher's plan makes no sense: it ends beyond what is wanted");
    for (size_t i = 0; i < plan->index.count; i++) {
        const struct blx_extent *piece = &plan->index.entries[i].extent;
        while (at < plan->wanted_count && blx_extent_end(plan->wanted[at]) <= piece->start_block)
            at++;
        if (at == plan->wanted_count || piece->start_block < plan->wanted[at].start_block ||
            blx_extent_end(*piece) > blx_extent_end(plan->wanted[at]))
            return blx_error_set(err, -EPROTO,
                                 "the dispatcher's plan makes no sense: it has "
                                 "blocks that nobody wants");
    }
    return 0;
}

static int plan_wanted(struct blx_pull_delta *delta, const struct blx_extent *wanted, size_t count,
                       struct blx_plan *plan, struct blx_error *err)
{
    int rc = say_wanted(delta, wanted, count, err);
    if (rc == 0)
        rc = blx_pull_take_plan(delta->pull, delta->volume, plan, err);
    plan->wanted = wanted;
    plan->wanted_count = count;
    if (rc == 0)
        rc = check_wanted(plan, err);
    if (rc == 0)
        rc = blx_plan_split_off_holes(plan, err);
    plan->wanted = NULL;
    plan->wanted_count = 0;
    return rc == 0 ? blx_plan_group_frames(plan, err) : rc;
}

int blx_pull_delta_plan(struct blx_pull_delta *delta, struct blx_plan *plan, struct blx_error *err)
{
    const struct blx_restore_volume *info = &delta->pull->volumes[delta->volume];
    uint64_t blocks = blx_blocks_of_bytes(info->size_bytes, info->block_shift);
    plan->size_bytes = info->size_bytes;
    plan->block_shift = info->block_shift;
    pass(&delta->differ, plan->start_block);
    int rc = compare(delta, blocks, err);
    if (rc < 0 || delta->differ.count == 0)
        return rc;
    return plan_wanted(delta, delta->differ.extents, delta->differ.count, plan, err);
}
