/* SPDX-License-Identifier: Apache-2.0 */
/* A block map says what the index that it was made of says, and takes less memory. */
#include "store/view/block_map_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fixture.h"

enum { ENTRIES = 1000, TURNS = 50 };

/* As a full pass leaves it, with scattered changes and zeros in between. */
static void fill(struct blx_index *index, uint64_t *random)
{
    uint64_t block = test_random(random) % 3, offset = 32;
    for (int i = 0; i < ENTRIES; i++) {
        uint64_t kind = test_random(random) % 8;
        struct blx_index_entry entry = {
            .extent = {block, 1 + test_random(random) % 64},
            .segment =
                kind == 0 ? UINT32_MAX : (uint32_t)(1 + (kind == 1) * (test_random(random) % 9000)),
            .frame_offset = kind == 1 ? test_random(random) >> 24 : offset,
            .frame_bytes = (uint32_t)(64 + test_random(random) % (1 << 20)),
            .data_block = kind == 3 ? (uint32_t)(test_random(random) % 200) : 0,
            .zero = kind == 2,
        };
        offset += kind == 4 ? 0 : entry.frame_bytes;
        block += entry.extent.block_count + (kind == 5 ? test_random(random) % 1000 : 0);
        assert_int_equal(blx_index_add(index, &entry), 0);
    }
}

static void check_find(const struct blx_block_map *map, const struct blx_index *index,
                       uint64_t block)
{
    struct blx_index_entry found;
    const struct blx_index_entry *expected = blx_index_find(index, block);
    assert_int_equal(blx_block_map_find(map, block, &found), expected != NULL);
    if (expected == NULL)
        return;
    assert_int_equal(found.extent.start_block, expected->extent.start_block);
    assert_int_equal(found.extent.block_count, expected->extent.block_count);
    assert_int_equal(found.zero, expected->zero);
    assert_int_equal(found.segment, expected->segment);
    if (found.zero)
        return;
    assert_int_equal(found.frame_offset, expected->frame_offset);
    assert_int_equal(found.frame_bytes, expected->frame_bytes);
    assert_int_equal(found.data_block, expected->data_block);
}

static void a_map_says_what_its_index_says(void **state)
{
    uint64_t random = 5;
    (void)state;
    for (int turn = 0; turn < TURNS; turn++) {
        struct blx_index index = {0};
        struct blx_block_map map = {0};
        fill(&index, &random);
        assert_int_equal(blx_block_map_add(&map, &index), 0);
        const struct blx_extent *last = &index.entries[index.count - 1].extent;
        for (int i = 0; i < ENTRIES; i++)
            check_find(&map, &index, test_random(&random) % (last->start_block + 70));
        for (size_t i = 0; i < index.count; i++)
            check_find(&map, &index, index.entries[i].extent.start_block);
        check_find(&map, &index, last->start_block + last->block_count);
        assert_true(blx_block_map_memory_bytes(&map) < index.count * 14);
        blx_block_map_done(&map);
        blx_index_done(&index);
    }
}

static void an_empty_map_has_nothing(void **state)
{
    struct blx_block_map map = {0};
    struct blx_index index = {0};
    struct blx_index_entry entry;
    (void)state;
    assert_int_equal(blx_block_map_add(&map, &index), 0);
    assert_false(blx_block_map_find(&map, 0, &entry));
    blx_block_map_done(&map);
}

/* Half a million frames one after another: what is said of the memory holds. */
static void a_full_pass_takes_few_bytes_an_entry(void **state)
{
    struct blx_block_map map = {0};
    struct blx_index index = {0};
    (void)state;
    for (uint64_t i = 0; i < 1 << 19; i++) {
        struct blx_index_entry entry = {.extent = {i * 64, 64},
                                        .segment = 1,
                                        .frame_offset = 32 + i * 100000,
                                        .frame_bytes = 100000};
        assert_int_equal(blx_index_add(&index, &entry), 0);
    }
    assert_int_equal(blx_block_map_add(&map, &index), 0);
    assert_true(blx_block_map_memory_bytes(&map) < (size_t)7 << 19);
    blx_block_map_done(&map);
    blx_index_done(&index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_map_says_what_its_index_says),
        cmocka_unit_test(an_empty_map_has_nothing),
        cmocka_unit_test(a_full_pass_takes_few_bytes_an_entry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
