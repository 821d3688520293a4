/* SPDX-License-Identifier: Apache-2.0 */
/* What is said of a checkpoint is what a restore reads and a prune frees. */
#include "history.h"

#include <string.h>

#include "store/view/info.h"

static struct blx_info read_info(const struct history *history, size_t at,
                                 struct blx_manifest *manifest)
{
    struct blx_error err = {0};
    struct blx_info info;
    test_ok(blx_manifest_read(blx_store_agent(&history->test.store, "web1"),
                              history->timestamps[at], manifest, &err),
            &err);
    test_ok(blx_info_read(blx_store_agent(&history->test.store, "web1"), manifest,
                          &manifest->volumes[0], &info, &err),
            &err);
    return info;
}

static uint64_t count_data(const uint8_t *image)
{
    static const uint8_t zeros[TEST_BLOCK_BYTES];
    uint64_t bytes = 0;
    for (size_t i = 0; i < HISTORY_BLOCKS; i++)
        if (memcmp(image + i * TEST_BLOCK_BYTES, zeros, TEST_BLOCK_BYTES) != 0)
            bytes += TEST_BLOCK_BYTES;
    return bytes;
}

static void used_bytes_and_chain_are_those_of_a_restore(void **state)
{
    (void)state;
    struct history history;
    history_init(&history, 41);
    history_grow(&history, 12);
    for (size_t i = 0; i < history.count; i++) {
        BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
        struct blx_info info = read_info(&history, i, &manifest);
        assert_int_equal(info.used_bytes, count_data(history.images[i]));
        assert_int_equal(info.chain_length, i + 1);
        assert_int_equal(info.removable, i + 1 < history.count);
        assert_true(info.disk_bytes >= manifest.volumes[0].stored_bytes);
    }
    history_done(&history);
}

static uint64_t stored_bytes(const struct history *history)
{
    struct blx_error err = {0};
    uint64_t bytes = 0;
    for (size_t i = 0; i < history->count; i++) {
        BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
        if (history->images[i] == NULL)
            continue;
        test_ok(blx_manifest_read(blx_store_agent(&history->test.store, "web1"),
                                  history->timestamps[i], &manifest, &err),
                &err);
        bytes += manifest.volumes[0].stored_bytes;
    }
    return bytes;
}

static void a_prune_frees_what_was_said(void **state)
{
    (void)state;
    struct blx_error err = {0};
    struct blx_prune_report report;
    struct history history;
    history_init(&history, 42);
    history_grow(&history, 30);
    uint64_t freed = 0;
    for (size_t i = 3; i < 25; i += 3) {
        BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
        struct blx_info info = read_info(&history, i, &manifest);
        uint64_t before = stored_bytes(&history);
        test_ok(test_prune(&history.test, &history.timestamps[i], 1, &report, &err), &err);
        history_forget(&history, i);
        assert_int_equal(before - stored_bytes(&history), info.frees_bytes);
        freed += info.frees_bytes;
    }
    assert_true(freed > 0);
    history_done(&history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(used_bytes_and_chain_are_those_of_a_restore),
        cmocka_unit_test(a_prune_frees_what_was_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
