/* SPDX-License-Identifier: Apache-2.0 */
/* The coverage of a volume against a plain array of bytes, and what it costs for a volume that only
 * claims to be large. */
#include "fixture.h"

#include <stdlib.h>
#include <string.h>

#include "store/segment/coverage_private.h"

enum { COUNTED = 300, BLOCKS = 5 * 4096 + 77 };

static struct blx_extent random_extent(uint64_t *random)
{
    uint64_t most = test_random(random) % 8 == 0 ? BLOCKS : 200;
    uint64_t start = test_random(random) % BLOCKS;
    uint64_t count = 1 + test_random(random) % most;
    return (struct blx_extent){start, count < BLOCKS - start ? count : BLOCKS - start};
}

static bool model_has(const uint8_t *model, struct blx_extent extent)
{
    return memchr(model + extent.start_block, 0, extent.block_count) == NULL;
}

static void it_is_what_a_bitmap_would_be(void **state)
{
    (void)state;
    uint64_t random = 4;
    for (unsigned round = 0; round < 20; round++) {
        uint8_t *model = calloc(BLOCKS, 1);
        struct blx_coverage coverage;
        assert_non_null(model);
        assert_int_equal(blx_coverage_init(&coverage, BLOCKS), 0);
        uint64_t covered = 0;
        while (covered < BLOCKS) {
            struct blx_extent extent = random_extent(&random), asked = random_extent(&random);
            assert_int_equal(blx_coverage_has(&coverage, extent), model_has(model, extent));
            assert_int_equal(blx_coverage_add(&coverage, extent), 0);
            for (uint64_t i = 0; i < extent.block_count; i++) {
                covered += model[extent.start_block + i] == 0;
                model[extent.start_block + i] = 1;
            }
            assert_int_equal(coverage.covered, covered);
            assert_true(blx_coverage_has(&coverage, extent));
            assert_int_equal(blx_coverage_has(&coverage, asked), model_has(model, asked));
            uint64_t inside = 0;
            if (asked.block_count > COUNTED)
                asked.block_count = COUNTED;
            for (uint64_t i = 0; i < asked.block_count; i++)
                inside += model[asked.start_block + i];
            assert_int_equal(blx_coverage_count(&coverage, asked), inside);
        }
        blx_coverage_done(&coverage);
        free(model);
    }
}

static void nothing_covers_nothing(void **state)
{
    (void)state;
    struct blx_coverage coverage;
    assert_int_equal(blx_coverage_init(&coverage, 4096), 0);
    assert_true(blx_coverage_has(&coverage, (struct blx_extent){4096, 0}));
    assert_int_equal(blx_coverage_add(&coverage, (struct blx_extent){17, 0}), 0);
    assert_int_equal(coverage.covered, 0);
    assert_false(blx_coverage_has(&coverage, (struct blx_extent){0, 1}));
    blx_coverage_done(&coverage);
}

/* All but one block, again and again: each time is a step, not a walk. */
static void walking_over_what_is_covered_is_cheap(void **state)
{
    (void)state;
    const uint64_t blocks = UINT64_C(1) << 30;
    struct blx_coverage coverage;
    assert_int_equal(blx_coverage_init(&coverage, blocks), 0);
    for (unsigned i = 0; i < 200000; i++)
        assert_int_equal(blx_coverage_add(&coverage, (struct blx_extent){1, blocks - 1}), 0);
    assert_int_equal(coverage.covered, blocks - 1);
    assert_false(blx_coverage_has(&coverage, (struct blx_extent){0, blocks}));
    assert_int_equal(blx_coverage_add(&coverage, (struct blx_extent){0, 1}), 0);
    assert_true(blx_coverage_has(&coverage, (struct blx_extent){0, blocks}));
    blx_coverage_done(&coverage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_what_a_bitmap_would_be),
        cmocka_unit_test(nothing_covers_nothing),
        cmocka_unit_test(walking_over_what_is_covered_is_cheap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
