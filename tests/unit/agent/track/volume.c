/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bitmap.h"
#include "fake_volume.h"

static int setup(void **state)
{
    struct fake_volume *fake = malloc(sizeof(*fake));
    fake_volume_make(fake, 0);
    *state = fake;
    return 0;
}

static int teardown(void **state)
{
    fake_volume_remove(*state);
    free(*state);
    return 0;
}

static uint32_t claim_all(struct fake_volume *fake, enum agent_claim kind,
                          struct blx_extent *extents)
{
    uint64_t cursor = 0;
    return agent_volume_claim(&fake->volume, kind, &cursor, UINT32_MAX, 64, extents);
}

static void claim_moves_a_dirty_block_to_in_flight(void **state)
{
    struct fake_volume *fake = *state;
    struct blx_extent extents[64];
    fake_volume_write(fake, 70, 1);
    assert_int_equal(claim_all(fake, AGENT_CLAIM_ALL, extents), 1);
    assert_int_equal(extents[0].start_block, 70);
    assert_int_equal(extents[0].block_count, 1);
    assert_int_equal(agent_volume_count_marked(&fake->volume), 0);
    assert_true(blx_bitmap_test(fake->volume.ledger.in_flight, 70));
}

static void claim_leaves_out_what_is_in_flight_and_keeps_its_new_mark(void **state)
{
    struct fake_volume *fake = *state;
    struct blx_extent extents[64];
    fake_volume_write(fake, 5, 1);
    claim_all(fake, AGENT_CLAIM_ALL, extents);
    fake_volume_write(fake, 5, 2);
    assert_int_equal(claim_all(fake, AGENT_CLAIM_ALL, extents), 0);
    assert_int_equal(agent_volume_count_marked(&fake->volume), 1);
    agent_volume_clear_acked(&fake->volume, &(struct blx_extent){5, 1}, 1);
    assert_int_equal(claim_all(fake, AGENT_CLAIM_ALL, extents), 1);
}

static void quiet_claim_waits_until_a_block_was_aged_and_left_alone(void **state)
{
    struct fake_volume *fake = *state;
    struct blx_extent extents[64];
    fake_volume_write(fake, 1, 1);
    fake_volume_write(fake, 2, 1);
    assert_int_equal(claim_all(fake, AGENT_CLAIM_QUIET, extents), 0);
    agent_volume_age(&fake->volume);
    fake_volume_write(fake, 2, 2); /* hot */
    assert_int_equal(claim_all(fake, AGENT_CLAIM_QUIET, extents), 1);
    assert_int_equal(extents[0].start_block, 1);
    assert_int_equal(agent_volume_count_marked(&fake->volume), 1);
}

static void claim_joins_neighbours_across_words_and_keeps_to_its_limits(void **state)
{
    struct fake_volume *fake = *state;
    struct blx_extent extents[2];
    for (uint64_t block = 60; block < 70; block++)
        fake_volume_write(fake, block, 1);
    fake_volume_write(fake, 100, 1);
    fake_volume_write(fake, 200, 1);
    uint64_t cursor = 0;
    assert_int_equal(agent_volume_claim(&fake->volume, AGENT_CLAIM_ALL, &cursor, 8, 2, extents), 1);
    assert_int_equal(extents[0].start_block, 60);
    assert_int_equal(extents[0].block_count, 8);
    assert_int_equal(agent_volume_claim(&fake->volume, AGENT_CLAIM_ALL, &cursor, 8, 2, extents), 2);
    assert_int_equal(extents[0].start_block, 68);
    assert_int_equal(extents[1].start_block, 100);
    assert_int_equal(agent_volume_claim(&fake->volume, AGENT_CLAIM_ALL, &cursor, 8, 2, extents), 1);
    assert_int_equal(extents[0].start_block, 200);
    assert_int_equal(agent_volume_claim(&fake->volume, AGENT_CLAIM_ALL, &cursor, 8, 2, extents), 0);
}

/* The model: every written block is found exactly once by claims of any size. */
static void claims_of_any_size_find_each_written_block_once(void **state)
{
    struct fake_volume *fake = *state;
    srandom(7);
    for (int round = 0; round < 200; round++) {
        uint8_t wanted[FAKE_BLOCKS] = {0};
        for (int i = 0; i < 300; i++) {
            uint64_t block = (uint64_t)random() % FAKE_BLOCKS;
            blx_bitmap_set(fake->dirty, (struct blx_extent){block, 1});
            wanted[block] = 1;
        }
        uint32_t max_blocks = 1 + (uint32_t)random() % 64;
        uint32_t max_extents = 1 + (uint32_t)random() % 64;
        uint64_t cursor = 0;
        struct blx_extent extents[64];
        uint32_t count;
        while ((count = agent_volume_claim(&fake->volume, AGENT_CLAIM_ALL, &cursor, max_blocks,
                                           max_extents, extents)) > 0) {
            uint64_t blocks = 0;
            for (uint32_t i = 0; i < count; i++) {
                for (uint64_t block = extents[i].start_block;
                     block < extents[i].start_block + extents[i].block_count; block++) {
                    assert_int_equal(wanted[block], 1);
                    wanted[block] = 0;
                }
                blocks += extents[i].block_count;
            }
            assert_true(blocks <= max_blocks && count <= max_extents);
            agent_volume_clear_acked(&fake->volume, extents, count);
        }
        for (size_t block = 0; block < FAKE_BLOCKS; block++)
            assert_int_equal(wanted[block], 0);
        assert_int_equal(agent_volume_count_in_flight(&fake->volume), 0);
    }
}

static void requeued_blocks_are_marked_again(void **state)
{
    struct fake_volume *fake = *state;
    struct blx_extent extents[64];
    fake_volume_write(fake, 3, 1);
    fake_volume_write(fake, 999, 1);
    uint32_t count = claim_all(fake, AGENT_CLAIM_ALL, extents);
    assert_int_equal(count, 2);
    agent_volume_requeue(&fake->volume, extents, 1);
    assert_int_equal(agent_volume_count_marked(&fake->volume), 1);
    agent_volume_requeue_all(&fake->volume);
    assert_int_equal(agent_volume_count_marked(&fake->volume), 2);
    assert_int_equal(agent_volume_count_in_flight(&fake->volume), 0);
}

static void full_pass_marks_every_wanted_block_and_none_after_the_end(void **state)
{
    struct fake_volume *fake = *state;
    agent_volume_mark_all(&fake->volume, NULL, "test");
    assert_int_equal(agent_volume_count_marked(&fake->volume), FAKE_BLOCKS);
    assert_int_equal(fake->volume.ledger.head->pass_total_blocks, FAKE_BLOCKS);
    assert_string_equal(fake->volume.ledger.head->pass_reason, "test");
}

static void doubt_lasts_until_it_is_settled(void **state)
{
    struct fake_volume *fake = *state;
    char reason[BLX_TEXT_BYTES];
    struct agent_tracker_counters counters = {.events = 10};
    assert_false(agent_volume_is_doubtful(&fake->volume, &counters, reason));
    counters.passthrough = 2;
    assert_true(agent_volume_is_doubtful(&fake->volume, &counters, reason));
    assert_non_null(strstr(reason, "2 passthrough"));
    assert_true(agent_volume_is_doubtful(&fake->volume, &counters, reason));
    agent_volume_settle_doubt(&fake->volume, &counters);
    assert_false(agent_volume_is_doubtful(&fake->volume, &counters, reason));
    counters.missed = 1;
    assert_true(agent_volume_is_doubtful(&fake->volume, &counters, reason));
    agent_volume_settle_doubt(&fake->volume, &counters);
    counters.unmarked = 1;
    assert_true(agent_volume_is_doubtful(&fake->volume, &counters, reason));
}

static void ledger_keeps_marks_over_a_reopen_and_refuses_another_generation(void **state)
{
    struct fake_volume *fake = *state;
    struct blx_generation same = {{1, 2, 3}}, other = {{9}};
    blx_bitmap_set(fake->volume.ledger.in_flight, (struct blx_extent){42, 2});
    fake->volume.ledger.head->acked_seq = 17;
    agent_ledger_close(&fake->volume.ledger);
    assert_int_equal(agent_ledger_open(fake->folder, "fake", &other, FAKE_BLOCKS,
                                       AGENT_LEDGER_EXISTING, &fake->volume.ledger, NULL),
                     -ESTALE);
    assert_int_equal(agent_ledger_open(fake->folder, "fake", &same, FAKE_BLOCKS + 64,
                                       AGENT_LEDGER_EXISTING, &fake->volume.ledger, NULL),
                     -ESTALE);
    assert_int_equal(agent_ledger_open(fake->folder, "none", &same, FAKE_BLOCKS,
                                       AGENT_LEDGER_EXISTING, &fake->volume.ledger, NULL),
                     -ESTALE);
    assert_int_equal(agent_ledger_open(fake->folder, "fake", &same, FAKE_BLOCKS,
                                       AGENT_LEDGER_EXISTING, &fake->volume.ledger, NULL),
                     0);
    assert_true(blx_bitmap_test(fake->volume.ledger.in_flight, 43));
    assert_int_equal(fake->volume.ledger.head->acked_seq, 17);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(claim_moves_a_dirty_block_to_in_flight),
        TEST(claim_leaves_out_what_is_in_flight_and_keeps_its_new_mark),
        TEST(quiet_claim_waits_until_a_block_was_aged_and_left_alone),
        TEST(claim_joins_neighbours_across_words_and_keeps_to_its_limits),
        TEST(claims_of_any_size_find_each_written_block_once),
        TEST(requeued_blocks_are_marked_again),
        TEST(full_pass_marks_every_wanted_block_and_none_after_the_end),
        TEST(doubt_lasts_until_it_is_settled),
        TEST(ledger_keeps_marks_over_a_reopen_and_refuses_another_generation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
