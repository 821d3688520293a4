/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bitmap.h"

enum { BLOCKS = 500 };

static void set_and_clear_touch_just_their_extent(void **state)
{
    (void)state;
    srandom(11);
    for (int round = 0; round < 500; round++) {
        uint64_t words[(BLOCKS + 63) / 64] = {0};
        bool model[BLOCKS] = {0};
        for (int step = 0; step < 20; step++) {
            uint64_t start = (uint64_t)random() % BLOCKS;
            uint64_t count = (uint64_t)random() % (BLOCKS - start + 1);
            bool set = random() % 2 == 0;
            struct blx_extent extent = {start, count};
            set ? blx_bitmap_set(words, extent) : blx_bitmap_clear(words, extent);
            for (uint64_t block = start; block < start + count; block++)
                model[block] = set;
        }
        uint64_t counted = 0;
        for (uint64_t block = 0; block < BLOCKS; block++) {
            assert_int_equal(blx_bitmap_test(words, block), model[block]);
            counted += model[block];
        }
        assert_int_equal(blx_bitmap_count(words, BLOCKS), counted);
    }
}

static void runs_cover_every_set_bit_in_order_and_keep_to_the_limit(void **state)
{
    (void)state;
    srandom(12);
    for (int round = 0; round < 500; round++) {
        uint64_t words[(BLOCKS + 63) / 64] = {0}, rebuilt[(BLOCKS + 63) / 64] = {0};
        for (int i = 0; i < 30; i++) {
            uint64_t start = (uint64_t)random() % BLOCKS;
            blx_bitmap_set(
                words, (struct blx_extent){start, (uint64_t)random() % (BLOCKS - start + 1) % 90});
        }
        uint64_t max = 1 + (uint64_t)random() % 100, at = 0;
        struct blx_extent run;
        while (blx_bitmap_next_run(words, at, BLOCKS, max, &run)) {
            assert_true(run.start_block >= at && run.block_count >= 1 && run.block_count <= max);
            blx_bitmap_set(rebuilt, run);
            at = run.start_block + run.block_count;
        }
        assert_memory_equal(words, rebuilt, sizeof(words));
    }
}

static void a_run_stops_at_the_limit_of_the_search(void **state)
{
    (void)state;
    uint64_t words[2] = {UINT64_MAX, UINT64_MAX};
    struct blx_extent run;
    assert_true(blx_bitmap_next_run(words, 10, 100, UINT64_MAX, &run));
    assert_int_equal(run.start_block, 10);
    assert_int_equal(run.block_count, 90);
    assert_false(blx_bitmap_next_run(words, 100, 100, UINT64_MAX, &run));
}

static void a_size_has_a_block_for_each_part_of_one(void **state)
{
    (void)state;
    assert_int_equal(blx_blocks_of_bytes(0, 12), 0);
    assert_int_equal(blx_blocks_of_bytes(1, 12), 1);
    assert_int_equal(blx_blocks_of_bytes(4096, 12), 1);
    assert_int_equal(blx_blocks_of_bytes(4097, 12), 2);
    assert_true(blx_blocks_of_bytes(UINT64_MAX, 12) == UINT64_C(1) << 52);
    assert_int_equal(blx_extent_end((struct blx_extent){5, 7}), 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_and_clear_touch_just_their_extent),
        cmocka_unit_test(runs_cover_every_set_bit_in_order_and_keep_to_the_limit),
        cmocka_unit_test(a_run_stops_at_the_limit_of_the_search),
        cmocka_unit_test(a_size_has_a_block_for_each_part_of_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
