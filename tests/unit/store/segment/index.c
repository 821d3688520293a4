/* SPDX-License-Identifier: Apache-2.0 */
#include "store/segment/index.h"

#include <stdlib.h>
#include <string.h>

#include "fixture.h"

enum { MODEL_BLOCKS = 300 };

static struct blx_index_entry data_entry(uint64_t start, uint64_t count, uint64_t frame_offset,
                                         uint32_t data_block, uint32_t rank)
{
    return (struct blx_index_entry){
        .extent = {.start_block = start, .block_count = count},
        .frame_offset = frame_offset,
        .frame_bytes = 100,
        .data_block = data_block,
        .rank = rank,
    };
}

static void index_add_joins_what_goes_on_in_the_same_frame(void **state)
{
    (void)state;
    struct blx_index index = {0};
    struct blx_index_entry first = data_entry(10, 4, 32, 0, 1);
    struct blx_index_entry second = data_entry(14, 2, 32, 4, 1);
    struct blx_index_entry other_data = data_entry(16, 1, 32, 9, 1);
    struct blx_index_entry other_frame = data_entry(17, 1, 999, 10, 1);
    assert_int_equal(blx_index_add(&index, &first), 0);
    assert_int_equal(blx_index_add(&index, &second), 0);
    assert_int_equal(blx_index_add(&index, &other_data), 0);
    assert_int_equal(blx_index_add(&index, &other_frame), 0);
    assert_int_equal(index.count, 3);
    assert_int_equal(index.entries[0].extent.block_count, 6);
    blx_index_done(&index);
}

static void index_flatten_splits_an_entry_and_keeps_its_data_right(void **state)
{
    (void)state;
    struct blx_index index = {0};
    struct blx_index_entry old = data_entry(0, 100, 32, 5, 1);
    struct blx_index_entry new = data_entry(40, 10, 999, 0, 2);
    blx_index_add(&index, &old);
    blx_index_add(&index, &new);
    assert_int_equal(blx_index_flatten(&index), 0);
    assert_int_equal(index.count, 3);
    assert_int_equal(index.entries[0].extent.block_count, 40);
    assert_int_equal(index.entries[0].data_block, 5);
    assert_int_equal(index.entries[1].frame_offset, 999);
    assert_int_equal(index.entries[2].extent.start_block, 50);
    assert_int_equal(index.entries[2].data_block, 55);
    assert_int_equal(blx_index_blocks(&index), 100);
    blx_index_done(&index);
}

static void index_flatten_of_nothing_is_nothing(void **state)
{
    (void)state;
    struct blx_index index = {0};
    assert_int_equal(blx_index_flatten(&index), 0);
    assert_null(blx_index_find(&index, 0));
    assert_int_equal(blx_index_blocks(&index), 0);
    blx_index_done(&index);
}

struct model {
    const struct blx_index_entry *owner[MODEL_BLOCKS];
};

static void model_add(struct model *model, const struct blx_index_entry *entry)
{
    for (uint64_t i = 0; i < entry->extent.block_count; i++) {
        const struct blx_index_entry **owner = &model->owner[entry->extent.start_block + i];
        if (*owner == NULL || (*owner)->rank <= entry->rank)
            *owner = entry;
    }
}

static void check_block(const struct blx_index *index, uint64_t block,
                        const struct blx_index_entry *owner)
{
    const struct blx_index_entry *found = blx_index_find(index, block);
    bool covered = found != NULL && found->extent.start_block <= block;
    assert_int_equal(covered, owner != NULL);
    if (!covered)
        return;
    assert_int_equal(found->frame_offset, owner->frame_offset);
    assert_int_equal(found->zero, owner->zero);
    if (owner->zero)
        assert_int_equal(found->data_block, 0);
    else
        assert_int_equal(found->data_block + (block - found->extent.start_block),
                         owner->data_block + (block - owner->extent.start_block));
}

static void check_order(const struct blx_index *index)
{
    uint64_t next_block = 0;
    for (size_t i = 0; i < index->count; i++) {
        assert_true(index->entries[i].extent.block_count > 0);
        assert_true(index->entries[i].extent.start_block >= next_block);
        next_block = index->entries[i].extent.start_block + index->entries[i].extent.block_count;
    }
}

static void index_flatten_agrees_with_an_array_for_random_entries(void **state)
{
    (void)state;
    uint64_t random = 1;
    for (int round = 0; round < 400; round++) {
        struct blx_index index = {0};
        struct blx_index_entry added[64];
        struct model model = {0};
        size_t count = test_random(&random) % 64;
        for (size_t i = 0; i < count; i++) {
            uint64_t start = test_random(&random) % (MODEL_BLOCKS - 1);
            uint64_t longest = round % 2 ? 12 : MODEL_BLOCKS - start;
            uint64_t length = 1 + test_random(&random) % longest;
            if (start + length > MODEL_BLOCKS)
                length = MODEL_BLOCKS - start;
            bool zero = test_random(&random) % 4 == 0;
            uint32_t data_block = zero ? 0 : (uint32_t)(test_random(&random) % 50);
            uint32_t rank = (uint32_t)(round % 3 == 0 ? i : test_random(&random) % 8);
            added[i] = data_entry(start, length, 1000 + i, data_block, rank);
            added[i].zero = zero;
            assert_int_equal(blx_index_add(&index, &added[i]), 0);
            model_add(&model, &added[i]);
        }
        assert_int_equal(blx_index_flatten(&index), 0);
        check_order(&index);
        uint64_t covered = 0;
        for (uint64_t block = 0; block < MODEL_BLOCKS; block++) {
            check_block(&index, block, model.owner[block]);
            covered += model.owner[block] != NULL;
        }
        assert_int_equal(blx_index_blocks(&index), covered);
        blx_index_done(&index);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(index_add_joins_what_goes_on_in_the_same_frame),
        cmocka_unit_test(index_flatten_splits_an_entry_and_keeps_its_data_right),
        cmocka_unit_test(index_flatten_of_nothing_is_nothing),
        cmocka_unit_test(index_flatten_agrees_with_an_array_for_random_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
