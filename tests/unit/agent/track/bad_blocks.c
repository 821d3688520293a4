/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks that the disk does not give: found one by one, kept, left out of ordinary claims, tried
 * again. preadv() is replaced by one that fails for chosen blocks. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/send/pipeline.h"
#include "agent/session/rescan_question_private.h"
#include "base/bitmap.h"
#include "fake_volume.h"

/* Shared with the helpers, which read. */
static struct {
    bool failing[FAKE_BLOCKS];
    int failure;
    atomic_uint failed_reads;
} * disk;

/* In place of libc's. */
ssize_t preadv(int fd, const struct iovec *vectors, int count, off_t offset)
{
    size_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += vectors[i].iov_len;
    for (off_t block = offset / FAKE_BLOCK_BYTES;
         block < FAKE_BLOCKS && block * FAKE_BLOCK_BYTES < offset + (off_t)bytes; block++) {
        if (disk->failing[block]) {
            disk->failed_reads++;
            errno = disk->failure;
            return -1;
        }
    }
    ssize_t total = 0;
    for (int i = 0; i < count; i++) {
        ssize_t got = pread(fd, vectors[i].iov_base, vectors[i].iov_len, offset + total);
        if (got < 0)
            return -1;
        total += got;
        if ((size_t)got < vectors[i].iov_len)
            break;
    }
    return total;
}

struct fixture {
    struct fake_volume fake;
    struct agent_pipeline *pipeline;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    fake_volume_make(&f->fake, 0);
    assert_int_equal(agent_pipeline_start(BLX_CODEC_NONE, &f->pipeline, NULL), 0);
    memset(disk->failing, 0, sizeof(disk->failing));
    disk->failure = EIO;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    agent_pipeline_stop(f->pipeline);
    fake_volume_remove(&f->fake);
    free(f);
    return 0;
}

/* The blocks of a packed job must be what was written; they are acknowledged. */
static void take_frame(struct fixture *f, struct agent_job *job, uint8_t *sent)
{
    struct blx_frame frame;
    assert_int_equal(job->rc, 0);
    if (job->batch.extent_count == 0)
        return;
    blx_frame_seal(job->frame, 1);
    assert_int_equal(blx_frame_parse(job->frame, job->frame_bytes, &frame, NULL), 0);
    uint8_t *data = malloc(BLX_FRAME_MAX_DATA_BYTES), *at = data;
    assert_int_equal(blx_frame_unpack(&frame, data, NULL), 0);
    for (uint32_t i = 0; i < frame.extent_count; i++) {
        struct blx_frame_extent extent = blx_frame_extent_at(&frame, i);
        for (uint64_t n = 0; n < extent.extent.block_count; n++, at += FAKE_BLOCK_BYTES) {
            uint64_t block = extent.extent.start_block + n;
            assert_false(extent.zero);
            assert_int_equal(at[0], (uint8_t)(block % 251 + 1));
            assert_int_equal(at[FAKE_BLOCK_BYTES - 1], (uint8_t)(block % 251 + 1));
            sent[block]++;
        }
    }
    free(data);
    agent_volume_clear_acked(&f->fake.volume, job->batch.extents, job->batch.extent_count);
}

/* What the control thread and the sender do in a round. */
static void send_round(struct fixture *f, enum agent_claim kind, uint8_t *sent)
{
    uint64_t cursor = 0;
    struct agent_job *job = agent_pipeline_take(f->pipeline, 10000);
    while (agent_batch_claim(&job->batch, &f->fake.volume, kind, &cursor)) {
        agent_pipeline_submit(f->pipeline, job);
        job = agent_pipeline_pop(f->pipeline, 10000);
        assert_non_null(job);
        take_frame(f, job, sent);
        agent_pipeline_release(f->pipeline, job);
        job = agent_pipeline_take(f->pipeline, 10000);
    }
    agent_pipeline_release(f->pipeline, job);
}

static void write_block(struct fixture *f, uint64_t block)
{
    fake_volume_write(&f->fake, block, (uint8_t)(block % 251 + 1));
}

static void fail_blocks(uint64_t first, uint64_t count, bool fail)
{
    for (uint64_t block = first; block < first + count; block++)
        disk->failing[block] = fail;
}

static void only_the_blocks_that_fail_are_left_out(void **state)
{
    struct fixture *f = *state;
    const struct agent_volume *volume = &f->fake.volume;
    srandom(7);
    for (int round = 0; round < 20; round++) {
        uint8_t sent[FAKE_BLOCKS] = {0};
        fail_blocks(0, FAKE_BLOCKS, false);
        for (uint64_t block = 0; block < FAKE_BLOCKS; block++) {
            disk->failing[block] = random() % (2 + round * 20) == 0;
            write_block(f, block);
        }
        agent_volume_age(&f->fake.volume); /* whatever was bad was written to */
        send_round(f, AGENT_CLAIM_QUIET, sent);
        uint64_t bad = 0;
        for (uint64_t block = 0; block < FAKE_BLOCKS; block++) {
            assert_int_equal(sent[block], !disk->failing[block]);
            assert_int_equal(blx_bitmap_test(volume->ledger.pending, block), disk->failing[block]);
            assert_int_equal(blx_bitmap_test(volume->bad.words, block), disk->failing[block]);
            bad += disk->failing[block];
        }
        assert_int_equal(atomic_load(&volume->bad.count), bad);
        assert_int_equal(agent_volume_count_in_flight(volume), 0);
        assert_int_equal(agent_volume_count_marked(volume), 0);
        assert_false(agent_volume_has_marked(volume, 0));
    }
}

static void one_bad_block_costs_few_reads(void **state)
{
    struct fixture *f = *state;
    uint8_t sent[FAKE_BLOCKS] = {0};
    for (uint64_t block = 0; block < 64; block++)
        write_block(f, block);
    disk->failing[17] = true;
    disk->failed_reads = 0;
    send_round(f, AGENT_CLAIM_ALL, sent);
    assert_in_range(disk->failed_reads, 1, 7); /* 64, 32, ... 1 */
}

static void bad_blocks_wait_for_their_own_claim(void **state)
{
    struct fixture *f = *state;
    uint8_t sent[FAKE_BLOCKS] = {0};
    fail_blocks(100, 70, true);
    for (uint64_t block = 90; block < 200; block++)
        write_block(f, block);
    send_round(f, AGENT_CLAIM_ALL, sent);
    disk->failed_reads = 0;
    send_round(f, AGENT_CLAIM_ALL, sent);
    agent_volume_age(&f->fake.volume);
    send_round(f, AGENT_CLAIM_QUIET, sent);
    assert_int_equal(disk->failed_reads, 0);
    send_round(f, AGENT_CLAIM_BAD, sent);
    assert_true(disk->failed_reads > 0);
    assert_int_equal(atomic_load(&f->fake.volume.bad.count), 70);
    assert_int_equal(atomic_load(&f->fake.volume.bad.found), 70);

    fail_blocks(100, 69, false);
    send_round(f, AGENT_CLAIM_BAD, sent);
    assert_int_equal(atomic_load(&f->fake.volume.bad.count), 1);
    for (uint64_t block = 90; block < 200; block++)
        assert_int_equal(sent[block], block != 169);
}

/* A write often heals a bad sector; and the mark must not be missed. */
static void a_write_makes_a_bad_block_an_ordinary_one(void **state)
{
    struct fixture *f = *state;
    uint8_t sent[FAKE_BLOCKS] = {0};
    fail_blocks(5, 2, true);
    write_block(f, 5);
    write_block(f, 6);
    send_round(f, AGENT_CLAIM_ALL, sent);
    fail_blocks(5, 2, false);
    write_block(f, 5);
    assert_int_equal(agent_volume_count_marked(&f->fake.volume), 1);
    assert_true(agent_volume_has_marked(&f->fake.volume, 5));
    assert_false(agent_volume_has_marked(&f->fake.volume, 6));
    send_round(f, AGENT_CLAIM_ALL, sent);
    assert_int_equal(sent[5], 1);
    assert_int_equal(sent[6], 0);
    write_block(f, 6);
    agent_volume_age(&f->fake.volume);
    send_round(f, AGENT_CLAIM_QUIET, sent);
    assert_int_equal(sent[6], 1);
    assert_int_equal(atomic_load(&f->fake.volume.bad.count), 0);
}

static void a_cuts_batches_keep_what_could_be_read(void **state)
{
    struct fixture *f = *state;
    struct agent_job *job = calloc(1, sizeof(*job));
    uint64_t cursor = 0;
    job->batch.data = aligned_alloc(4096, AGENT_BATCH_DATA_BYTES);
    for (uint64_t block = 10; block < 20; block++)
        write_block(f, block);
    fail_blocks(12, 3, true);
    assert_true(agent_batch_claim(&job->batch, &f->fake.volume, AGENT_CLAIM_ALL, &cursor));
    assert_int_equal(agent_pipeline_read(f->pipeline, job, 1), 0);
    agent_batch_leave_out_bad(&job->batch);
    assert_int_equal(job->batch.extent_count, 2);
    assert_int_equal(agent_batch_count_blocks(&job->batch), 7);
    assert_int_equal(job->batch.extents[1].start_block, 15);
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(job->batch.data[i * FAKE_BLOCK_BYTES], i < 2 ? 11 + i : 14 + i);
    free(job->batch.data);
    free(job);
}

/* No memory, a device that is gone: no block is to blame. */
static void a_failure_of_the_device_fails_the_whole_batch(void **state)
{
    struct fixture *f = *state;
    uint64_t cursor = 0;
    write_block(f, 1);
    write_block(f, 2);
    disk->failing[2] = true;
    disk->failure = ENOMEM;
    struct agent_job *job = agent_pipeline_take(f->pipeline, 10000);
    assert_true(agent_batch_claim(&job->batch, &f->fake.volume, AGENT_CLAIM_ALL, &cursor));
    agent_pipeline_submit(f->pipeline, job);
    job = agent_pipeline_pop(f->pipeline, 10000);
    assert_int_equal(job->rc, -ENOMEM);
    assert_int_equal(atomic_load(&f->fake.volume.bad.count), 0);
    agent_pipeline_release(f->pipeline, job);
}

static void a_rescan_marks_just_what_cannot_be_read(void **state)
{
    struct fixture *f = *state;
    struct agent_question_reader *reader = NULL;
    struct agent_question *question = calloc(1, sizeof(*question));
    struct blx_digests theirs;
    uint64_t wanted[(FAKE_BLOCKS + 63) / 64] = {0}, cursor = 0;
    assert_int_equal(agent_question_reader_new(f->pipeline, BLX_RESCAN_FAST, &reader, NULL), 0);
    blx_bitmap_set(wanted, (struct blx_extent){0, 100});
    assert_true(agent_question_make_next(&f->fake.volume, wanted, FAKE_BLOCKS, &cursor, question));
    question->request.blocks_per_digest = 1;
    assert_int_equal(agent_question_read(reader, question, NULL, NULL), 0);
    theirs = question->mine;
    fail_blocks(7, 1, true);
    fail_blocks(63, 3, true);
    assert_int_equal(agent_question_read(reader, question, NULL, NULL), 0);
    assert_int_equal(agent_question_mark(question, &theirs), 4);
    assert_true(blx_bitmap_test(f->fake.volume.ledger.pending, 7));
    assert_true(blx_bitmap_test(f->fake.volume.ledger.pending, 65));
    agent_question_reader_free(reader);
    free(question);
}

static void a_list_that_is_too_long_covers_all_and_joins_the_nearest(void **state)
{
    (void)state;
    enum { BLOCKS = 100000, GROUPS = 200 };
    struct agent_bad_blocks bad;
    struct blx_unreadable list;
    assert_int_equal(agent_bad_blocks_init(&bad, BLOCKS, NULL), 0);
    agent_bad_blocks_list(&bad, &list);
    assert_int_equal(list.extent_count, 0);
    for (uint64_t i = 0; i < GROUPS; i++) /* pairs with a gap of one, 400 blocks apart */
        for (uint64_t n = 0; n < 3; n += 2)
            agent_bad_blocks_add(&bad, (struct blx_extent){i * 400 + n, 1}, -EIO);
    agent_bad_blocks_list(&bad, &list);
    assert_in_range(list.extent_count, BLX_UNREADABLE_MAX_EXTENTS - 1, BLX_UNREADABLE_MAX_EXTENTS);
    uint64_t end = 0;
    for (uint32_t i = 0; i < list.extent_count; i++) {
        assert_true(list.extents[i].start_block >= end);
        end = list.extents[i].start_block + list.extents[i].block_count;
        for (uint64_t block = list.extents[i].start_block; block < end; block++)
            if (blx_bitmap_test(bad.words, block))
                agent_bad_blocks_remove(&bad, (struct blx_extent){block, 1});
    }
    assert_int_equal(atomic_load(&bad.count), 0);
    assert_int_equal(blx_bitmap_count(bad.words, BLOCKS), 0);
    agent_bad_blocks_done(&bad);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(only_the_blocks_that_fail_are_left_out),
        TEST(one_bad_block_costs_few_reads),
        TEST(bad_blocks_wait_for_their_own_claim),
        TEST(a_write_makes_a_bad_block_an_ordinary_one),
        TEST(a_cuts_batches_keep_what_could_be_read),
        TEST(a_failure_of_the_device_fails_the_whole_batch),
        TEST(a_rescan_marks_just_what_cannot_be_read),
        cmocka_unit_test(a_list_that_is_too_long_covers_all_and_joins_the_nearest),
    };
    disk = mmap(NULL, sizeof(*disk), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (disk == MAP_FAILED)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
