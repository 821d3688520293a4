/* SPDX-License-Identifier: Apache-2.0 */
#include "store/view/difference.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "store/agent_lock.h"
#include "store/segment/coverage_private.h"
#include "store/view/chain_private.h"

struct blx_difference {
    unsigned block_shift;
    bool is_whole;
    struct blx_coverage written;
};

void blx_difference_close(struct blx_difference *difference)
{
    if (difference == NULL)
        return;
    blx_coverage_done(&difference->written);
    free(difference);
}

bool blx_difference_is_whole(const struct blx_difference *difference)
{
    return difference->is_whole;
}

static int compare_segments(const void *a_arg, const void *b_arg)
{
    const struct blx_chain_segment *a = a_arg, *b = b_arg;
    return (a->number > b->number) - (a->number < b->number);
}

static bool has(const struct blx_chain *chain, const struct blx_chain_segment *segment)
{
    return chain->segment_count > 0 && bsearch(segment, chain->segments, chain->segment_count,
                                               sizeof(*segment), compare_segments) != NULL;
}

static int visit(void *arg, const struct blx_chain_segment *segment,
                 struct blx_segment_reader *reader, const struct blx_error *cause,
                 struct blx_error *err)
{
    struct blx_difference *difference = arg;
    int rc = 0;
    (void)segment;
    if (reader == NULL)
        return blx_error_copy(err, cause->code, cause);
    const struct blx_index *index = blx_segment_reader_index(reader);
    for (size_t i = 0; rc == 0 && i < index->count; i++)
        if (blx_extent_end(index->entries[i].extent) <= difference->written.blocks)
            rc = blx_coverage_add(&difference->written, index->entries[i].extent);
    blx_segment_reader_close(reader);
    return rc < 0 ? blx_error_errno(err, rc, "cannot compare the checkpoints") : 0;
}

/* The segments of `chain` that `other` has not. Those are moved to its begin. */
static int add_own(struct blx_difference *difference, const char *dir, struct blx_chain *chain,
                   const struct blx_chain *other, size_t *own, struct blx_error *err)
{
    BLX_CLEANUP_FREE struct blx_chain_segment *segments =
        calloc(chain->segment_count + 1, sizeof(*segments));
    *own = 0;
    if (segments == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot compare the checkpoints");
    for (size_t i = 0; i < chain->segment_count; i++)
        if (!has(other, &chain->segments[i]))
            segments[(*own)++] = chain->segments[i];
    return blx_opening_run(dir, segments, *own, visit, difference, err);
}

static void sort(struct blx_chain *chain)
{
    if (chain->segment_count > 0)
        qsort(chain->segments, chain->segment_count, sizeof(chain->segments[0]), compare_segments);
}

static int compare(const struct blx_difference_request *request, struct blx_difference *difference,
                   struct blx_error *err)
{
    char dir[PATH_MAX];
    size_t own = 0, others = 0;
    BLX_CLEANUP(blx_chain_done) struct blx_chain chain = {0};
    BLX_CLEANUP(blx_chain_done) struct blx_chain other = {0};
    BLX_CLEANUP(blx_agent_lock_close) struct blx_agent_lock lock = {.fd = -1};
    int rc = blx_agent_store_volume_path(request->agent, request->volume, dir, err);
    if (rc == 0)
        rc = blx_agent_lock_begin(request->agent, request->checkpoint, &lock, err);
    if (rc == 0)
        rc = blx_chain_walk(request->agent, request->checkpoint, request->volume, BLX_CHAIN_WHOLE,
                            &chain, err);
    if (rc == 0)
        rc = blx_chain_walk(request->agent, request->other, request->volume, BLX_CHAIN_WHOLE,
                            &other, err);
    if (rc == 0 && chain.block_shift != other.block_shift)
        rc = blx_error_set(err, -EBADMSG,
                           "the volume '%s' has other blocks there: they cannot be "
                           "compared",
                           request->volume);
    if (rc < 0)
        return rc;
    uint64_t bytes = chain.size_bytes > other.size_bytes ? chain.size_bytes : other.size_bytes;
    difference->block_shift = chain.block_shift;
    if (blx_coverage_init(&difference->written, blx_blocks_of_bytes(bytes, chain.block_shift)) < 0)
        return blx_error_errno(err, -ENOMEM, "cannot compare the checkpoints");
    sort(&chain);
    sort(&other);
    rc = add_own(difference, dir, &chain, &other, &own, err);
    if (rc == 0)
        rc = add_own(difference, dir, &other, &chain, &others, err);
    difference->is_whole = own == chain.segment_count && others == other.segment_count && own > 0;
    return rc;
}

int blx_difference_open(const struct blx_difference_request *request,
                        struct blx_difference **difference, struct blx_error *err)
{
    struct blx_difference *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot compare the checkpoints");
    int rc = compare(request, made, err);
    if (rc < 0)
        blx_difference_close(made);
    else
        *difference = made;
    return rc;
}

/* Bytes of the block within [offset, end). */
static uint64_t cut(const struct blx_difference *difference, uint64_t block, uint64_t offset,
                    uint64_t end)
{
    uint64_t first = block << difference->block_shift;
    uint64_t last = first + (UINT64_C(1) << difference->block_shift);
    return (last < end ? last : end) - (first > offset ? first : offset);
}

uint64_t blx_difference_count(const struct blx_difference *difference, uint64_t offset_bytes,
                              uint64_t bytes)
{
    const struct blx_coverage *written = &difference->written;
    uint64_t size_bytes = written->blocks << difference->block_shift;
    if (offset_bytes >= size_bytes || bytes == 0)
        return 0;
    uint64_t end = bytes > size_bytes - offset_bytes ? size_bytes : offset_bytes + bytes;
    uint64_t first = offset_bytes >> difference->block_shift;
    uint64_t last = (end - 1) >> difference->block_shift, found = 0;
    const struct blx_extent edges[] = {{first, 1}, {last, 1}};
    for (size_t i = 0; i < (first == last ? 1 : 2); i++)
        if (blx_coverage_count(written, edges[i]) == 1)
            found += cut(difference, edges[i].start_block, offset_bytes, end);
    if (last > first + 1)
        found += blx_coverage_count(written, (struct blx_extent){first + 1, last - first - 1})
                 << difference->block_shift;
    return found;
}
