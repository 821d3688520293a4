/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/session/rescan_question_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bitmap.h"
#include "base/cond.h"

enum {
    PIECE_BYTES = 1024 * 1024,
    MAX_PIECES = BLX_DIGESTS_MAX_BYTES / BLX_DIGEST_COARSE_BYTES,
    MAX_FINE_BLOCKS = BLX_DIGESTS_MAX_BYTES / BLX_DIGEST_FINE_BYTES,
    GROUP_BATCHES = 16,
    RING_GROUPS = 2,
    READER_BATCHES = (RING_GROUPS + 1) * GROUP_BATCHES,
    GIVE_WAY_MS = 10,
    BATCH_DIGEST_BYTES = AGENT_BATCH_MAX_EXTENTS << BLX_BLOCK_DIGEST_SHIFT,
    DATA_ALIGNMENT = 4096,
};

/* Batches of one question, which are read together. */
struct group {
    const struct agent_question *question; /* borrowed; NULL: nothing is under way */
    struct agent_reading reading;
    struct agent_job jobs[GROUP_BATCHES];
    uint8_t *digests; /* borrowed: room for those of all jobs */
};

struct agent_question_reader {
    struct agent_pipeline *pipeline; /* borrowed */
    bool gentle;
    struct blx_digester *digester;  /* owned */
    uint8_t *memory;                /* owned; the data, then the digests, of all jobs */
    struct group ring[RING_GROUPS]; /* of the question that is read, then of the one ahead */
    unsigned next;                  /* in the ring: begun first, or to be begun */
    struct group apart;             /* of a question that is read between two of the ring's */
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
    question->read = (struct agent_question_cursor){0};
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

/* The group's number `n` in the reader's memory. */
static void group_init(struct agent_question_reader *reader, struct group *group, size_t n)
{
    uint8_t *data = reader->memory + n * GROUP_BATCHES * AGENT_BATCH_DATA_BYTES;
    group->reading.jobs = group->jobs;
    group->digests = reader->memory + (size_t)READER_BATCHES * AGENT_BATCH_DATA_BYTES +
                     n * GROUP_BATCHES * BATCH_DIGEST_BYTES;
    for (size_t i = 0; i < GROUP_BATCHES; i++)
        group->jobs[i].batch.data = data + i * AGENT_BATCH_DATA_BYTES;
}

int agent_question_reader_new(struct agent_pipeline *pipeline, enum blx_rescan_priority priority,
                              struct agent_question_reader **reader, struct blx_error *err)
{
    struct agent_question_reader *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot compare");
    made->pipeline = pipeline;
    made->gentle = priority == BLX_RESCAN_GENTLE;
    made->memory = aligned_alloc(DATA_ALIGNMENT, (size_t)READER_BATCHES *
                                                     (AGENT_BATCH_DATA_BYTES + BATCH_DIGEST_BYTES));
    int rc = made->memory == NULL ? blx_error_errno(err, -ENOMEM, "cannot compare") : 0;
    if (rc == 0)
        rc = blx_digester_new(&made->digester, err);
    if (rc < 0) {
        agent_question_reader_free(made);
        return rc;
    }
    for (size_t i = 0; i < RING_GROUPS; i++)
        group_init(made, &made->ring[i], i);
    group_init(made, &made->apart, RING_GROUPS);
    *reader = made;
    return 0;
}

void agent_question_reader_free(struct agent_question_reader *reader)
{
    if (reader == NULL)
        return;
    /* The workers write to what the session that ends had begun. */
    for (size_t i = 0; i < RING_GROUPS; i++) {
        if (reader->ring[i].question != NULL)
            agent_pipeline_wait(reader->pipeline, &reader->ring[i].reading, BLX_FOR_EVER);
    }
    blx_digester_free(reader->digester);
    free(reader->memory);
    free(reader);
}

/* The question's next blocks as a batch. False if there are no more. */
static bool fill_batch(struct agent_question *question, struct agent_batch *batch)
{
    uint32_t most = AGENT_BATCH_DATA_BYTES >> question->volume->block_shift;
    uint64_t block;
    uint32_t index;
    batch->volume = question->volume;
    batch->extent_count = 0;
    for (uint32_t blocks = 0;
         blocks < most && next_block(&question->request, &question->read, &block, &index);
         blocks++) {
        struct blx_extent *last =
            batch->extent_count > 0 ? &batch->extents[batch->extent_count - 1] : NULL;
        if (last != NULL && last->start_block + last->block_count == block)
            last->block_count++;
        else
            batch->extents[batch->extent_count++] = (struct blx_extent){block, 1};
    }
    return batch->extent_count > 0;
}

/* None of our own reads is under way. */
static void give_way(const struct agent_volume *volume)
{
    static const struct timespec a_moment = {.tv_nsec = 1000 * 1000};
    for (unsigned ms = 0; ms < GIVE_WAY_MS && agent_device_is_busy(&volume->device); ms++)
        nanosleep(&a_moment, NULL);
}

/* Begins to read the question's next batches. False if there are no more. */
static bool group_begin(struct agent_question_reader *reader, struct group *group,
                        struct agent_question *question)
{
    size_t count = 0, most = reader->gentle ? 1 : GROUP_BATCHES;
    bool keyed = question->volume->digest_key != NULL;
    while (count < most && fill_batch(question, &group->jobs[count].batch)) {
        group->jobs[count].digests = keyed ? group->digests + count * BATCH_DIGEST_BYTES : NULL;
        count++;
    }
    if (count == 0)
        return false;
    if (reader->gentle)
        give_way(question->volume);
    group->question = question;
    group->reading.count = count;
    agent_pipeline_begin(reader->pipeline, &group->reading);
    return true;
}

/* Adds the blocks that a job has read. Bad blocks spoil the pieces that they are in, and no
 * others. */
static int add_job(struct blx_digester *digester, const struct agent_job *job,
                   struct blx_error *err)
{
    uint32_t count = (uint32_t)agent_batch_count_blocks(&job->batch);
    if (job->rc < 0)
        return blx_digester_add(digester, NULL, count, err);
    bool keyed = job->batch.volume->digest_key != NULL;
    const uint8_t *units = keyed ? job->digests : job->batch.data;
    unsigned shift = keyed ? BLX_BLOCK_DIGEST_SHIFT : job->batch.volume->block_shift;
    int rc = 0;
    for (uint32_t i = 0, part; rc == 0 && i < count; i += part) {
        bool bad = (job->batch.bad >> i & 1) != 0;
        for (part = 1; i + part < count && ((job->batch.bad >> (i + part) & 1) != 0) == bad;)
            part++;
        rc = blx_digester_add(digester, bad ? NULL : units + ((size_t)i << shift), part, err);
    }
    return rc;
}

/* Each job says for itself whether it could be read. */
static int group_take(struct agent_question_reader *reader, struct group *group,
                      struct blx_error *err)
{
    int rc = 0;
    agent_pipeline_wait(reader->pipeline, &group->reading, BLX_FOR_EVER);
    group->question = NULL;
    for (size_t i = 0; rc == 0 && i < group->reading.count; i++)
        rc = add_job(reader->digester, &group->jobs[i], err);
    return rc;
}

static void begin_digests(struct agent_question_reader *reader, struct agent_question *question)
{
    const struct agent_volume *volume = question->volume;
    blx_digester_begin(reader->digester, &question->request,
                       volume->digest_key != NULL ? BLX_BLOCK_DIGEST_SHIFT : volume->block_shift,
                       &question->mine);
}

/* `rc` is that of the reading. The question can be read again. */
static int end_digests(struct agent_question_reader *reader, struct agent_question *question,
                       int rc, struct blx_error *err)
{
    question->read = (struct agent_question_cursor){0};
    return rc < 0 ? rc : blx_digester_end(reader->digester, err);
}

/* Every free place of the ring, in its order, gets what is to be read next. */
static void ring_fill(struct agent_question_reader *reader, struct agent_question *question,
                      struct agent_question *ahead)
{
    unsigned groups = reader->gentle ? 1 : RING_GROUPS;
    for (unsigned i = 0; i < groups; i++) {
        struct group *group = &reader->ring[(reader->next + i) % RING_GROUPS];
        if (group->question != NULL || group_begin(reader, group, question))
            continue;
        if (ahead == NULL || !group_begin(reader, group, ahead))
            return;
    }
}

int agent_question_read(struct agent_question_reader *reader, struct agent_question *question,
                        struct agent_question *ahead, struct blx_error *err)
{
    int rc = 0;
    begin_digests(reader, question);
    while (rc == 0) {
        ring_fill(reader, question, ahead);
        struct group *group = &reader->ring[reader->next];
        if (group->question != question)
            break;
        rc = group_take(reader, group, err);
        reader->next = (reader->next + 1) % RING_GROUPS;
    }
    return end_digests(reader, question, rc, err);
}

int agent_question_read_apart(struct agent_question_reader *reader, struct agent_question *question,
                              struct blx_error *err)
{
    int rc = 0;
    begin_digests(reader, question);
    while (rc == 0 && group_begin(reader, &reader->apart, question))
        rc = group_take(reader, &reader->apart, err);
    return end_digests(reader, question, rc, err);
}
