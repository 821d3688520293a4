/* SPDX-License-Identifier: Apache-2.0 */
/* Which blocks a rescan asks for, what it makes of the answers, and that it marks just what
 * differs. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/session/rescan_question_private.h"
#include "base/bitmap.h"
#include "fake_volume.h"

enum { WORDS = (FAKE_BLOCKS + 63) / 64 };

struct fixture {
    struct fake_volume fake;
    struct agent_pipeline *pipeline;
    struct agent_question_reader *reader;
    struct blx_volume_key key; /* if the volume uses it */
    uint64_t step; /* a question reaches over so many blocks at most; 0: as far as it can */
    uint64_t wanted[WORDS];
    uint8_t theirs[FAKE_BLOCKS]; /* what the dispatcher has: each block is of one byte */
    uint8_t mine[FAKE_BLOCKS];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    fake_volume_make(&f->fake, 512);
    assert_int_equal(agent_pipeline_start(BLX_CODEC_NONE, &f->pipeline, NULL), 0);
    assert_int_equal(agent_question_reader_new(f->pipeline, BLX_RESCAN_FAST, &f->reader, NULL), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    agent_question_reader_free(f->reader);
    agent_pipeline_stop(f->pipeline);
    fake_volume_remove(&f->fake);
    free(f);
    return 0;
}

static void write_block(struct fixture *f, uint64_t block, uint8_t byte)
{
    fake_volume_write(&f->fake, block, byte);
    f->mine[block] = byte;
}

/* The volume is encrypted from now on. */
static void use_key(struct fixture *f)
{
    const struct blx_key key = {.secret = {1, 2, 3}, .id = {{4}}};
    assert_int_equal(blx_volume_key_derive(&key, "web1", "vda", &f->key, NULL), 0);
    f->fake.volume.key = f->fake.volume.digest_key = &f->key;
}

/* The dispatcher's side of a question: no shared code but the digesters. */
static void answer(const struct fixture *f, const struct blx_digest_request *request,
                   struct blx_digests *digests)
{
    struct blx_digester *digester;
    struct blx_block_digester *blocks = NULL;
    uint8_t data[FAKE_BLOCK_BYTES], keyed[BLX_BLOCK_DIGEST_BYTES];
    const bool has_key = f->fake.volume.key != NULL;
    assert_int_equal(blx_digester_new(&digester, NULL), 0);
    if (has_key)
        assert_int_equal(blx_block_digester_new(&f->key, &blocks, NULL), 0);
    blx_digester_begin(digester, request, has_key ? BLX_BLOCK_DIGEST_SHIFT : 12, digests);
    uint64_t block = request->first_block;
    for (uint32_t i = 0; i < request->extent_count; i++) {
        block += request->extents[i].gap_blocks;
        for (uint32_t n = 0; n < request->extents[i].block_count; n++, block++) {
            memset(data, f->theirs[block], sizeof(data));
            if (block == FAKE_BLOCKS - 1) /* the device ends within it */
                memset(data + sizeof(data) - 512, 0, 512);
            if (has_key)
                assert_int_equal(blx_block_digest(blocks, block, data, sizeof(data), keyed, NULL),
                                 0);
            assert_int_equal(blx_digester_add(digester, has_key ? keyed : data, 1, NULL), 0);
        }
    }
    assert_int_equal(blx_digester_end(digester, NULL), 0);
    blx_block_digester_free(blocks);
    blx_digester_free(digester);
}

/* What goes out must be what the other side accepts. */
static void check_encodes(const struct agent_question *question)
{
    uint8_t buffer[BLX_MESSAGE_ENCODED_BYTES];
    size_t length;
    struct blx_message message = {.type = BLX_MESSAGE_DIGEST_REQUEST,
                                  .digest_request = question->request};
    assert_int_equal(blx_message_encode(&message, buffer, sizeof(buffer), &length), 0);
}

static bool make_next(struct fixture *f, uint64_t end_block, uint64_t *cursor,
                      struct agent_question *question)
{
    uint64_t end = f->step == 0 ? end_block : 0;
    while (end < end_block) {
        end = (*cursor / f->step + 1) * f->step;
        end = end < end_block ? end : end_block;
        if (agent_question_make_next(&f->fake.volume, f->wanted, end, cursor, question))
            return true;
        *cursor = end;
    }
    return f->step == 0 &&
           agent_question_make_next(&f->fake.volume, f->wanted, end, cursor, question);
}

/* A whole rescan without a connection; returns how many blocks it marked. */
static uint64_t rescan(struct fixture *f, uint64_t end_block, unsigned *questions)
{
    struct agent_question *all = calloc(3, sizeof(*all));
    struct agent_question *fine = &all[2];
    uint64_t cursor = 0, marked = 0;
    *questions = 0;
    bool has = make_next(f, end_block, &cursor, &all[0]);
    for (unsigned n = 0; has; n++) {
        struct agent_question *question = &all[n % 2], *ahead = &all[(n + 1) % 2];
        struct blx_digests theirs, fine_theirs;
        struct agent_question_cursor at = {0};
        check_encodes(question);
        has = make_next(f, end_block, &cursor, ahead);
        if (!has)
            ahead = NULL;
        assert_int_equal(agent_question_read(f->reader, question, ahead, NULL), 0);
        answer(f, &question->request, &theirs);
        (*questions)++;
        while (agent_question_refine(question, &theirs, &at, fine)) {
            check_encodes(fine);
            assert_int_equal(agent_question_read_apart(f->reader, fine, NULL), 0);
            answer(f, &fine->request, &fine_theirs);
            marked += agent_question_mark(fine, &fine_theirs);
            (*questions)++;
        }
    }
    free(all);
    return marked;
}

static void check_marks(const struct fixture *f, uint64_t end_block)
{
    for (uint64_t block = 0; block < FAKE_BLOCKS; block++) {
        bool differs = block < end_block && blx_bitmap_test(f->wanted, block) &&
                       f->mine[block] != f->theirs[block];
        if (blx_bitmap_test(f->fake.volume.ledger.pending, block) != differs)
            fail_msg("block %llu is %smarked", (unsigned long long)block, differs ? "not " : "");
    }
}

static void what_is_equal_is_asked_once_and_not_marked(void **state)
{
    struct fixture *f = *state;
    unsigned questions;
    blx_bitmap_set(f->wanted, (struct blx_extent){0, FAKE_BLOCKS});
    write_block(f, 17, 3);
    f->theirs[17] = 3;
    assert_int_equal(rescan(f, FAKE_BLOCKS, &questions), 0);
    assert_int_equal(questions, 1);
    check_marks(f, FAKE_BLOCKS);
}

static void just_what_differs_is_marked(void **state)
{
    struct fixture *f = *state;
    unsigned questions;
    blx_bitmap_set(f->wanted, (struct blx_extent){0, FAKE_BLOCKS});
    write_block(f, 0, 1);
    write_block(f, 255, 2);
    write_block(f, 256, 3);
    write_block(f, FAKE_BLOCKS - 1, 4);
    f->theirs[600] = 9;
    assert_int_equal(rescan(f, FAKE_BLOCKS, &questions), 5);
    check_marks(f, FAKE_BLOCKS);
}

static void nothing_after_the_end_is_asked(void **state)
{
    struct fixture *f = *state;
    unsigned questions;
    blx_bitmap_set(f->wanted, (struct blx_extent){0, FAKE_BLOCKS});
    write_block(f, 299, 1);
    write_block(f, 300, 2);
    assert_int_equal(rescan(f, 300, &questions), 1);
    check_marks(f, 300);
}

static void random_disks_are_told_apart_block_by_block(void **state)
{
    struct fixture *f = *state;
    unsigned questions;
    srandom(5);
    for (int round = 0; round < 12; round++) {
        memset(f->fake.volume.ledger.pending, 0, sizeof(f->wanted));
        for (uint64_t block = 0; block < FAKE_BLOCKS; block++) {
            bool wanted = round % 3 == 0 || random() % 3 != 0;
            (wanted ? blx_bitmap_set : blx_bitmap_clear)(f->wanted, (struct blx_extent){block, 1});
            if (random() % (1 + round * 7) == 0)
                write_block(f, block, (uint8_t)(random() % 3));
            bool differs = random() % (2 + round) == 0;
            f->theirs[block] = (uint8_t)(differs ? random() % 3 : f->mine[block]);
        }
        rescan(f, FAKE_BLOCKS, &questions);
        check_marks(f, FAKE_BLOCKS);
    }
}

/* Each is read ahead while the one before is compared, block by block where it differs. */
static void many_questions_are_told_apart_too(void **state)
{
    struct fixture *f = *state;
    f->step = 90;
    random_disks_are_told_apart_block_by_block(state);
    f->step = 7;
    random_disks_are_told_apart_block_by_block(state);
}

static void a_gentle_reader_finds_the_same(void **state)
{
    struct fixture *f = *state;
    agent_question_reader_free(f->reader);
    assert_int_equal(agent_question_reader_new(f->pipeline, BLX_RESCAN_GENTLE, &f->reader, NULL),
                     0);
    use_key(f);
    many_questions_are_told_apart_too(state);
}

/* As if the session ended then. */
static void a_reader_goes_while_it_reads_ahead(void **state)
{
    struct fixture *f = *state;
    struct agent_question *all = calloc(2, sizeof(*all));
    uint64_t cursor = 0;
    f->step = FAKE_BLOCKS / 2;
    use_key(f);
    blx_bitmap_set(f->wanted, (struct blx_extent){0, FAKE_BLOCKS});
    assert_true(make_next(f, FAKE_BLOCKS, &cursor, &all[0]));
    assert_true(make_next(f, FAKE_BLOCKS, &cursor, &all[1]));
    assert_int_equal(agent_question_read(f->reader, &all[0], &all[1], NULL), 0);
    agent_question_reader_free(f->reader);
    f->reader = NULL;
    free(all);
}

static void one_processor_makes_the_same_digests(void **state)
{
    struct fixture *f = *state;
    agent_pipeline_limit_digesting(f->pipeline, 1);
    use_key(f);
    many_questions_are_told_apart_too(state);
}

static void with_a_key_it_is_the_same(void **state)
{
    use_key(*state);
    random_disks_are_told_apart_block_by_block(state);
}

/* Extents that are too many or too far apart for one message go into several. */
static void a_scattered_bitmap_is_asked_whole(void **state)
{
    struct fixture *f = *state;
    enum { MANY = 400000 };
    uint64_t *wanted = calloc(blx_bitmap_words(MANY), sizeof(*wanted));
    struct agent_question *question = calloc(1, sizeof(*question));
    for (uint64_t block = 0; block < 3000; block += 2)
        blx_bitmap_set(wanted, (struct blx_extent){block, 1});
    blx_bitmap_set(wanted, (struct blx_extent){200000, 40000});
    blx_bitmap_set(wanted, (struct blx_extent){MANY - 1, 1});
    uint64_t expected = blx_bitmap_count(wanted, MANY), cursor = 0;
    while (agent_question_make_next(&f->fake.volume, wanted, MANY, &cursor, question)) {
        uint64_t block = question->request.first_block;
        check_encodes(question);
        for (uint32_t i = 0; i < question->request.extent_count; i++) {
            const struct blx_digest_extent *extent = &question->request.extents[i];
            block += extent->gap_blocks;
            for (uint32_t n = 0; n < extent->block_count; n++, block++)
                assert_true(blx_bitmap_test(wanted, block));
            blx_bitmap_clear(wanted,
                             (struct blx_extent){block - extent->block_count, extent->block_count});
            expected -= extent->block_count;
        }
    }
    assert_int_equal(expected, 0);
    assert_int_equal(blx_bitmap_count(wanted, MANY), 0);
    free(question);
    free(wanted);
}

/* A device that has become smaller under us, or has bad sectors. */
static void what_cannot_be_read_counts_as_different(void **state)
{
    struct fixture *f = *state;
    unsigned questions;
    blx_bitmap_set(f->wanted, (struct blx_extent){0, FAKE_BLOCKS});
    assert_int_equal(ftruncate(f->fake.fd, 500 * FAKE_BLOCK_BYTES), 0);
    uint64_t marked = rescan(f, FAKE_BLOCKS, &questions);
    assert_in_range(marked, 500, 564); /* what is read in one go is lost in one go */
    assert_true(blx_bitmap_test(f->fake.volume.ledger.pending, FAKE_BLOCKS - 1));
    assert_false(blx_bitmap_test(f->fake.volume.ledger.pending, 400));
}

static void a_rescan_ends_as_a_pass_of_what_it_found(void **state)
{
    struct fixture *f = *state;
    struct agent_volume *volume = &f->fake.volume;
    struct agent_ledger_head *head = volume->ledger.head;
    agent_volume_begin_rescan(volume, 700, "a reboot");
    assert_true(head->rescan_active);
    assert_int_equal(head->rescan_cursor_block, 0);
    assert_int_equal(head->rescan_end_block, 700);
    blx_bitmap_set(volume->ledger.pending, (struct blx_extent){5, 3});
    agent_volume_end_rescan(volume);
    assert_false(head->rescan_active);
    assert_int_equal(head->pass_total_blocks, 3);
    assert_true(head->pass_is_rescan);
    assert_string_equal(head->pass_reason, "a reboot");
    agent_volume_end_pass(volume);
    assert_int_equal(head->pass_total_blocks, 0);
    assert_false(head->pass_is_rescan);
    /* A full pass that is under way stays one; a new one needs no rescan. */
    agent_volume_mark_all(volume, NULL, "first sync");
    agent_volume_begin_rescan(volume, FAKE_BLOCKS, "doubt");
    agent_volume_end_rescan(volume);
    assert_false(head->pass_is_rescan);
    assert_string_equal(head->pass_reason, "first sync");
    agent_volume_begin_rescan(volume, FAKE_BLOCKS, "doubt");
    agent_volume_mark_all(volume, NULL, "another disk");
    assert_false(head->rescan_active);
}

static void marking_from_a_block_leaves_those_before_it(void **state)
{
    struct fixture *f = *state;
    blx_bitmap_set(f->wanted, (struct blx_extent){100, 300});
    blx_bitmap_set(f->wanted, (struct blx_extent){FAKE_BLOCKS - 1, 1});
    agent_volume_mark_from(&f->fake.volume, f->wanted, 250);
    for (uint64_t block = 0; block < FAKE_BLOCKS; block++)
        assert_int_equal(blx_bitmap_test(f->fake.volume.ledger.pending, block),
                         (block >= 250 && block < 400) || block == FAKE_BLOCKS - 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_equal_is_asked_once_and_not_marked),
        TEST(just_what_differs_is_marked),
        TEST(nothing_after_the_end_is_asked),
        TEST(random_disks_are_told_apart_block_by_block),
        TEST(many_questions_are_told_apart_too),
        TEST(a_gentle_reader_finds_the_same),
        TEST(a_reader_goes_while_it_reads_ahead),
        TEST(one_processor_makes_the_same_digests),
        TEST(with_a_key_it_is_the_same),
        TEST(a_scattered_bitmap_is_asked_whole),
        TEST(what_cannot_be_read_counts_as_different),
        TEST(a_rescan_ends_as_a_pass_of_what_it_found),
        TEST(marking_from_a_block_leaves_those_before_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
