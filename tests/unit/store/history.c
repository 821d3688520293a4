/* SPDX-License-Identifier: Apache-2.0 */
#include "history.h"

#include <stdlib.h>
#include <string.h>

#include "store/verify/verify.h"

void history_begin(struct history *history, enum blx_pass pass)
{
    struct blx_error err = {0};
    struct test_volume *const volumes[] = {&history->volume};
    history->writer = test_writer_open(&history->test, volumes, 1, NULL);
    test_ok(blx_agent_writer_begin(history->writer, 0, pass, &err), &err);
}

void history_init(struct history *history, uint64_t seed)
{
    memset(history, 0, sizeof(*history));
    history->random = seed;
    test_fsync_off();
    test_store_init(&history->test);
    test_volume_init(&history->volume, "sda", HISTORY_BYTES, 1);
    history_begin(history, BLX_PASS_FULL);
    for (uint64_t block = 0; block < HISTORY_BLOCKS; block += 2)
        test_volume_write(&history->volume, block, test_random(&history->random) | 1);
    test_volume_send_all(&history->volume, history->writer, 16);
}

void history_done(struct history *history)
{
    blx_agent_writer_close(history->writer);
    for (size_t i = 0; i < history->count; i++)
        free(history->images[i]);
    test_volume_done(&history->volume);
    test_store_done(&history->test);
}

void history_commit(struct history *history)
{
    struct test_volume *const volumes[] = {&history->volume};
    size_t at = history->count++;
    assert_true(at < HISTORY_CHECKPOINTS);
    history->timestamps[at] = test_writer_commit(history->writer, volumes, 1, 1000000000 + at * 60);
    history->images[at] = malloc(HISTORY_BLOCKS * TEST_BLOCK_BYTES);
    assert_non_null(history->images[at]);
    memcpy(history->images[at], history->volume.image, HISTORY_BLOCKS * TEST_BLOCK_BYTES);
}

/* A frame of some blocks, which become zero at times. */
void history_change(struct history *history)
{
    uint64_t blocks[8];
    size_t count = 1 + test_random(&history->random) % 8;
    uint64_t block = test_random(&history->random) % (HISTORY_BLOCKS / 2);
    for (size_t i = 0; i < count; i++, block += 1 + test_random(&history->random) % 6) {
        blocks[i] = block;
        test_volume_write(&history->volume, block,
                          test_random(&history->random) % 5 == 0 ? 0
                                                                 : test_random(&history->random));
    }
    struct blx_error err = {0};
    test_volume_frame(&history->volume, blocks, count);
    test_ok(blx_agent_writer_append(history->writer, 0, history->volume.frame,
                                    history->volume.sent_bytes, &err),
            &err);
}

void history_noise(struct history *history, uint64_t start, size_t count)
{
    struct blx_error err = {0};
    uint64_t blocks[32];
    for (size_t i = 0; i < count; i++) {
        blocks[i] = start + i;
        uint8_t *at = history->volume.image + blocks[i] * TEST_BLOCK_BYTES;
        for (size_t k = 0; k < TEST_BLOCK_BYTES; k++)
            at[k] = (uint8_t)test_random(&history->random);
    }
    test_volume_frame(&history->volume, blocks, count);
    test_ok(blx_agent_writer_append(history->writer, 0, history->volume.frame,
                                    history->volume.sent_bytes, &err),
            &err);
}

void history_grow(struct history *history, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (uint64_t frames = test_random(&history->random) % 4; frames > 0; frames--)
            history_change(history);
        history_commit(history);
    }
}

void test_no_damage(const struct test_store *test)
{
    struct blx_error err = {0};
    struct blx_verify_report report;
    test_ok(blx_verify(&test->store, NULL, NULL, &report, &err), &err);
    if (report.damage_count > 0)
        fail_msg("%s at %llu: %s", report.damages[0].file,
                 (unsigned long long)report.damages[0].offset_bytes, report.damages[0].cause);
    blx_verify_report_done(&report);
}

/* Just those that were not removed are there, and each is what it was. */
void history_check(const struct history *history)
{
    struct blx_error err = {0};
    BLX_CLEANUP_FREE blx_timestamp *all = NULL;
    size_t count, at = 0;
    test_ok(blx_manifest_list(blx_store_agent(&history->test.store, "web1"), 0, UINT64_MAX, &all,
                              &count, &err),
            &err);
    for (size_t i = 0; i < history->count; i++) {
        if (history->images[i] == NULL)
            continue;
        assert_true(at < count);
        assert_int_equal(all[at++], history->timestamps[i]);
        test_restores_to(&history->test, history->timestamps[i], "sda", history->images[i],
                         HISTORY_BYTES);
    }
    assert_int_equal(at, count);
    test_no_damage(&history->test);
}

int test_prune(const struct test_store *test, const blx_timestamp *doomed, size_t count,
               struct blx_prune_report *report, struct blx_error *err)
{
    struct blx_prune_request request = {.checkpoints = doomed, .count = count};
    return blx_prune(blx_store_agent(&test->store, "web1"), &request, report, err);
}

int test_rewrite(const struct test_store *test, struct blx_rewrite_report *report,
                 struct blx_error *err)
{
    const struct blx_rewrite_request request = {0};
    return blx_rewrite(blx_store_agent(&test->store, "web1"), &request, report, err);
}

void history_forget(struct history *history, size_t at)
{
    free(history->images[at]);
    history->images[at] = NULL;
}

/* Removes each but the newest with the probability `percent`. */
void history_prune(struct history *history, unsigned percent)
{
    struct blx_error err = {0};
    struct blx_prune_report report;
    blx_timestamp doomed[HISTORY_CHECKPOINTS];
    size_t count = 0;
    for (size_t i = 0; i + 1 < history->count; i++) {
        if (history->images[i] == NULL || test_random(&history->random) % 100 >= percent)
            continue;
        doomed[count++] = history->timestamps[i];
        history_forget(history, i);
    }
    test_ok(test_prune(&history->test, doomed, count, &report, &err), &err);
    assert_int_equal(report.removed, count);
    assert_int_equal(report.in_use, 0);
}
