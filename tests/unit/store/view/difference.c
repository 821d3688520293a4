/* SPDX-License-Identifier: Apache-2.0 */
/* What was written between two checkpoints: every block that differs counts, and what nobody wrote
 * does not. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "history.h"
#include "store/view/difference.h"

static struct blx_difference *compare(const struct history *history, size_t a, size_t b)
{
    struct blx_error err = {0};
    struct blx_difference *difference = NULL;
    const struct blx_difference_request request = {
        .agent = blx_store_agent(&history->test.store, "web1"),
        .checkpoint = history->timestamps[a],
        .other = history->timestamps[b],
        .volume = "sda"};
    test_ok(blx_difference_open(&request, &difference, &err), &err);
    return difference;
}

static bool is_written(const struct blx_difference *difference, uint64_t block)
{
    uint64_t bytes = blx_difference_count(difference, block * TEST_BLOCK_BYTES, TEST_BLOCK_BYTES);
    assert_true(bytes == 0 || bytes == TEST_BLOCK_BYTES);
    return bytes > 0;
}

/* Returns how many blocks were written. */
static uint64_t check_pair(const struct history *history, size_t a, size_t b)
{
    struct blx_difference *difference = compare(history, a, b);
    uint64_t blocks = 0;
    for (uint64_t block = 0; block < HISTORY_BLOCKS; block++) {
        size_t at = block * TEST_BLOCK_BYTES;
        bool written = is_written(difference, block);
        blocks += written;
        if (memcmp(history->images[a] + at, history->images[b] + at, TEST_BLOCK_BYTES) != 0)
            assert_true(written);
    }
    assert_int_equal(blx_difference_count(difference, 0, UINT64_MAX), blocks * TEST_BLOCK_BYTES);
    blx_difference_close(difference);
    return blocks;
}

static void every_block_that_differs_was_written(void **state)
{
    (void)state;
    struct history history;
    history_init(&history, 31);
    history_grow(&history, 12);
    for (size_t a = 0; a < history.count; a++)
        for (size_t b = a + 1; b < history.count; b++)
            assert_int_equal(check_pair(&history, a, b), check_pair(&history, b, a));
    assert_true(check_pair(&history, 10, 11) < HISTORY_BLOCKS / 2);
    assert_int_equal(check_pair(&history, 5, 5), 0);
    history_prune(&history, 60);
    size_t last = history.count - 1;
    for (size_t a = 0; a < last; a++)
        if (history.images[a] != NULL)
            check_pair(&history, a, last);
    history_done(&history);
}

static void parts_of_blocks_are_counted(void **state)
{
    (void)state;
    struct history history;
    history_init(&history, 32);
    history_grow(&history, 1);
    test_volume_send(&history.volume, history.writer, 7, 99);
    history_commit(&history);
    struct blx_difference *difference = compare(&history, 1, 0);
    const uint64_t at = 7 * TEST_BLOCK_BYTES;
    assert_int_equal(blx_difference_count(difference, at - 100, 300), 200);
    assert_int_equal(blx_difference_count(difference, at + 100, 300), 300);
    assert_int_equal(blx_difference_count(difference, at + 4000, 300), 96);
    assert_int_equal(blx_difference_count(difference, 0, at), 0);
    assert_int_equal(blx_difference_count(difference, at - 4096, 3 * 4096), 4096);
    assert_int_equal(blx_difference_count(difference, UINT64_MAX, 1), 0);
    assert_int_equal(blx_difference_count(difference, at, 0), 0);
    assert_false(blx_difference_is_whole(difference));
    blx_difference_close(difference);
    history_done(&history);
}

static void after_a_full_pass_all_of_it_counts(void **state)
{
    (void)state;
    struct history history;
    history_init(&history, 33);
    history_grow(&history, 2);
    blx_agent_writer_close(history.writer);
    test_volume_generation(&history.volume, 2);
    history_begin(&history, BLX_PASS_FULL);
    test_volume_send_all(&history.volume, history.writer, 16);
    history_commit(&history);
    struct blx_difference *difference = compare(&history, 2, 1);
    assert_true(blx_difference_is_whole(difference));
    assert_int_equal(blx_difference_count(difference, 0, UINT64_MAX),
                     HISTORY_BLOCKS * TEST_BLOCK_BYTES);
    blx_difference_close(difference);
    history_done(&history);
}

static void what_is_not_there_is_named(void **state)
{
    (void)state;
    struct history history;
    struct blx_error err = {0};
    struct blx_difference *difference = NULL;
    history_init(&history, 34);
    history_grow(&history, 1);
    struct blx_difference_request request = {.agent = blx_store_agent(&history.test.store, "web1"),
                                             .checkpoint = history.timestamps[0],
                                             .other = 20200101000000,
                                             .volume = "sda"};
    assert_int_equal(blx_difference_open(&request, &difference, &err), -ENOENT);
    assert_non_null(strstr(err.message, "20200101000000"));
    blx_error_clear(&err);
    request.other = request.checkpoint;
    request.volume = "sdz";
    assert_int_equal(blx_difference_open(&request, &difference, &err), -ENOENT);
    assert_non_null(strstr(err.message, "sdz"));
    assert_null(difference);
    history_done(&history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_block_that_differs_was_written),
        cmocka_unit_test(parts_of_blocks_are_counted),
        cmocka_unit_test(after_a_full_pass_all_of_it_counts),
        cmocka_unit_test(what_is_not_there_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
