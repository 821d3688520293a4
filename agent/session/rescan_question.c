/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/session/rescan_question_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bitmap.h"

enum {
    PIECE_BYTES = 1024 * 1024,
    MAX_PIECES = BLX_DIGESTS_MAX_BYTES / BLX_DIGEST_COARSE_BYTES,
    MAX_FINE_BLOCKS = BLX_DIGESTS_MAX_BYTES / BLX_DIGEST_FINE_BYTES,
    READER_BATCHES = 32,
    DATA_ALIGNMENT = 4096,
};

struct agent_question_reader {
    struct agent_pipeline *pipeline;   /* borrowed */
    struct blx_digester *digester;     /* owned */
    struct blx_block_digester *blocks; /* owned; of the question's volume, NULL without digests */
    uint8_t *buffer;                   /* owned; READER_BATCHES x AGENT_BATCH_DATA_BYTES */
    struct agent_job jobs[READER_BATCHES];
};

uint32_t agent_question_get_piece_blocks(unsigned block_shift)
{
    return PIECE_BYTES >> block_shift;
}

static void question_init(struct agent_question *question, struct agent_volume *volume,
                          uint32_t blocks_per_digest)
{
    question->volume = volume;
    question->answer = NULL;
    question->request.volume = volume->index;
    question->request.blocks_per_digest = blocks_per_digest;
    question->request.extent_count = 0;
    question->request.fresh = false;
}

/* False if the message has no room for the run: another question must begin with it. */
static bool question_add(struct blx_digest_request *request, struct blx_extent run, uint64_t *end)
{
    uint64_t gap = 0;
    if (request->extent_count == 0)
        request->first_block = run.start_block;
    else
        gap = run.start_block - *end;
    if (gap > UINT16_MAX || request->extent_count == BLX_DIGEST_MAX_EXTENTS)
        return false;
    struct blx_digest_extent *last =
        request->extent_count > 0 ? &request->extents[request->extent_count - 1] : NULL;
    if (last != NULL && gap == 0)
        last->block_count = (uint16_t)(last->block_count + run.block_count);
    else
        request->extents[request->extent_count++] =
            (struct blx_digest_extent){(uint16_t)gap, (uint16_t)run.block_count};
    *end = run.start_block + run.block_count;
    return true;
}

bool agent_question_make_next(struct agent_volume *volume, const uint64_t *wanted,
                              uint64_t end_block, uint64_t *cursor, struct agent_question *question)
{
    uint32_t piece = agent_question_get_piece_blocks(volume->block_shift);
    uint64_t left = (uint64_t)piece * MAX_PIECES;
    uint64_t end = 0;
    struct blx_extent run;
    question_init(question, volume, piece);
    while (left > 0 && blx_bitmap_next_run(wanted, *cursor, end_block, left, &run)) {
        if (!question_add(&question->request, run, &end))
            break;
        *cursor = end;
        left -= run.block_count;
    }
    return question->request.extent_count > 0;
}

int agent_question_check(const struct agent_question *question, const struct blx_digests *theirs,
                         struct blx_error *err)
{
    if (theirs->volume == question->request.volume && theirs->count == question->mine.count &&
        theirs->digest_bytes == question->mine.digest_bytes)
        return 0;
    return blx_error_set(err, -EPROTO,
                         "the dispatcher answered a digest request with other digests");
}

/* The block under the cursor, which moves on. False after the last block. */
static bool next_block(const struct blx_digest_request *request,
                       struct agent_question_cursor *cursor, uint64_t *block, uint32_t *index)
{
    if (cursor->extent == request->extent_count)
        return false;
    const struct blx_digest_extent *extent = &request->extents[cursor->extent];
    if (cursor->block == 0)
        cursor->start_block =
            cursor->extent == 0 ? request->first_block : cursor->end_block + extent->gap_blocks;
    *block = cursor->start_block + cursor->block;
    *index = cursor->index++;
    if (++cursor->block == extent->block_count) {
        cursor->end_block = *block + 1;
        cursor->extent++;
        cursor->block = 0;
    }
    return true;
}

bool agent_question_refine(const struct agent_question *question, const struct blx_digests *theirs,
                           struct agent_question_cursor *cursor, struct agent_question *fine)
{
    const struct blx_digest_request *request = &question->request;
    uint64_t end = 0, block;
    uint32_t blocks = 0, index;
    question_init(fine, question->volume, 1);
    struct agent_question_cursor before = *cursor;
    while (blocks < MAX_FINE_BLOCKS && next_block(request, cursor, &block, &index)) {
        if (blx_digests_equal(&question->mine, theirs, index / request->blocks_per_digest))
            continue;
        if (!question_add(&fine->request, (struct blx_extent){block, 1}, &end)) {
            *cursor = before;
            break;
        }
        blocks++;
        before = *cursor;
    }
    return blocks > 0;
}

uint64_t agent_question_mark(const struct agent_question *question,
                             const struct blx_digests *theirs)
{
    const struct blx_digest_request *request = &question->request;
    struct agent_question_cursor cursor = {0};
    uint64_t marked = 0, block;
    uint32_t index;
    while (next_block(request, &cursor, &block, &index)) {
        if (blx_digests_equal(&question->mine, theirs, index / request->blocks_per_digest))
            continue;
        blx_bitmap_set(question->volume->ledger.pending, (struct blx_extent){block, 1});
        marked++;
    }
    return marked;
}

int agent_question_reader_new(struct agent_pipeline *pipeline,
                              struct agent_question_reader **reader, struct blx_error *err)
{
    struct agent_question_reader *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot compare");
    made->pipeline = pipeline;
    made->buffer = aligned_alloc(DATA_ALIGNMENT, (size_t)READER_BATCHES * AGENT_BATCH_DATA_BYTES);
    int rc = made->buffer == NULL ? blx_error_errno(err, -ENOMEM, "cannot compare") : 0;
    if (rc == 0)
        rc = blx_digester_new(&made->digester, err);
    if (rc < 0) {
        agent_question_reader_free(made);
        return rc;
    }
    for (size_t i = 0; i < READER_BATCHES; i++)
        made->jobs[i].batch.data = made->buffer + i * AGENT_BATCH_DATA_BYTES;
    *reader = made;
    return 0;
}

void agent_question_reader_free(struct agent_question_reader *reader)
{
    if (reader == NULL)
        return;
    blx_digester_free(reader->digester);
    blx_block_digester_free(reader->blocks);
    free(reader->buffer);
    free(reader);
}

/* The next blocks of the sequence as a batch. False if there are no more. */
static bool fill_batch(const struct agent_question *question, struct agent_question_cursor *cursor,
                       struct agent_batch *batch)
{
    uint32_t most = AGENT_BATCH_DATA_BYTES >> question->volume->block_shift;
    uint64_t block;
    uint32_t index;
    batch->volume = question->volume;
    batch->extent_count = 0;
    for (uint32_t blocks = 0;
         blocks < most && next_block(&question->request, cursor, &block, &index); blocks++) {
        struct blx_extent *last =
            batch->extent_count > 0 ? &batch->extents[batch->extent_count - 1] : NULL;
        if (last != NULL && last->start_block + last->block_count == block)
            last->block_count++;
        else
            batch->extents[batch->extent_count++] = (struct blx_extent){block, 1};
    }
    return batch->extent_count > 0;
}

/* The keyed digests of the blocks that a job has read. They take the place of its data. */
static int digest_blocks(const struct agent_question_reader *reader, const struct agent_job *job,
                         uint8_t digests[AGENT_BATCH_MAX_EXTENTS << BLX_BLOCK_DIGEST_SHIFT],
                         struct blx_error *err)
{
    const struct agent_batch *batch = &job->batch;
    size_t block_bytes = (size_t)1 << batch->volume->block_shift;
    const uint8_t *data = batch->data;
    int rc = 0;
    for (uint32_t i = 0; i < batch->extent_count; i++) {
        const struct blx_extent *extent = &batch->extents[i];
        for (uint64_t n = 0; rc == 0 && n < extent->block_count; n++) {
            rc = blx_block_digest(reader->blocks, extent->start_block + n, data, block_bytes,
                                  digests, err);
            data += block_bytes;
            digests += BLX_BLOCK_DIGEST_BYTES;
        }
    }
    return rc;
}

/* Adds the blocks that a job has read. Bad blocks spoil the pieces that they are in, and no
 * others. */
static int add_job(const struct agent_question_reader *reader, const struct agent_job *job,
                   struct blx_error *err)
{
    struct blx_digester *digester = reader->digester;
    uint32_t count = (uint32_t)agent_batch_count_blocks(&job->batch);
    if (job->rc < 0)
        return blx_digester_add(digester, NULL, count, err);
    uint8_t digests[AGENT_BATCH_MAX_EXTENTS << BLX_BLOCK_DIGEST_SHIFT];
    const uint8_t *units = job->batch.data;
    unsigned shift = job->batch.volume->block_shift;
    int rc = 0;
    if (reader->blocks != NULL) {
        rc = digest_blocks(reader, job, digests, err);
        units = digests;
        shift = BLX_BLOCK_DIGEST_SHIFT;
    }
    for (uint32_t i = 0, part; rc == 0 && i < count; i += part) {
        bool bad = (job->batch.bad >> i & 1) != 0;
        for (part = 1; i + part < count && ((job->batch.bad >> (i + part) & 1) != 0) == bad;)
            part++;
        rc = blx_digester_add(digester, bad ? NULL : units + ((size_t)i << shift), part, err);
    }
    return rc;
}

/* A reader serves one volume. */
static int begin_digests(struct agent_question_reader *reader, struct agent_question *question,
                         struct blx_error *err)
{
    const struct agent_volume *volume = question->volume;
    int rc = 0;
    if (volume->digest_key != NULL && reader->blocks == NULL)
        rc = blx_block_digester_new(volume->digest_key, &reader->blocks, err);
    blx_digester_begin(reader->digester, &question->request,
                       volume->digest_key != NULL ? BLX_BLOCK_DIGEST_SHIFT : volume->block_shift,
                       &question->mine);
    return rc;
}

int agent_question_read(struct agent_question_reader *reader, struct agent_question *question,
                        struct blx_error *err)
{
    struct agent_question_cursor cursor = {0};
    int rc = begin_digests(reader, question, err);
    for (size_t count = 1; rc == 0 && count > 0;) {
        for (count = 0; count < READER_BATCHES; count++) {
            reader->jobs[count].is_read = false;
            if (!fill_batch(question, &cursor, &reader->jobs[count].batch))
                break;
        }
        /* Each job says for itself whether it could be read. */
        (void)agent_pipeline_read(reader->pipeline, reader->jobs, count);
        for (size_t i = 0; rc == 0 && i < count; i++)
            rc = add_job(reader, &reader->jobs[i], err);
    }
    return rc < 0 ? rc : blx_digester_end(reader->digester, err);
}
