/* SPDX-License-Identifier: Apache-2.0 */
/* Segments of which much is dead are put together again; every checkpoint stays as it was. */
#include "history.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/units.h"
#include "store/agent_lock.h"
#include "store/verify/verify.h"

static void rewrite(const struct history *history, struct blx_rewrite_report *report)
{
    struct blx_error err = {0};
    test_ok(test_rewrite(&history->test, report, &err), &err);
}

static void every_checkpoint_stays_bit_exact(void **state)
{
    (void)state;
    struct history history;
    struct blx_rewrite_report report;
    size_t replaced = 0;
    for (uint64_t seed = 11; seed <= 12; seed++) {
        history_init(&history, seed);
        for (unsigned round = 0; round < 5; round++) {
            history_grow(&history, 15);
            history_prune(&history, 20 + round * 15);
            rewrite(&history, &report);
            assert_int_equal(report.put_off + report.damaged, 0);
            replaced += report.replaced;
            history_check(&history);
        }
        history_done(&history);
    }
    assert_true(replaced > 20);
}

static void a_session_goes_on_meanwhile(void **state)
{
    (void)state;
    struct history history;
    struct blx_rewrite_report report;
    history_init(&history, 19);
    history_commit(&history);
    for (unsigned round = 0; round < 12; round++) {
        history_change(&history);
        history_prune(&history, 50);
        rewrite(&history, &report);
        history_change(&history);
        history_commit(&history);
        if (round % 4 == 3) {
            blx_agent_writer_close(history.writer);
            history_begin(&history, BLX_PASS_RESUME);
        }
        history_check(&history);
    }
    history_done(&history);
}

/* A base and changes of incompressible blocks, in frames a little larger than a page: few of them
 * leave a hole. */
static void make_noise(struct history *history, uint64_t seed, size_t checkpoints)
{
    history_init(history, seed);
    for (size_t i = 0; i < checkpoints; i++) {
        for (unsigned k = 0; k < 12; k++)
            history_noise(history, test_random(&history->random) % 90, 1);
        history_commit(history);
    }
}

/* What the volume's segments take, and what the manifests say that is needed. */
static void measure(const struct history *history, uint64_t *used, uint64_t *needed)
{
    char dir[PATH_MAX], path[PATH_MAX + 256];
    struct blx_error err = {0};
    *used = *needed = 0;
    test_ok(blx_agent_store_volume_path(blx_store_agent(&history->test.store, "web1"), "sda", dir,
                                        &err),
            &err);
    DIR *folder = opendir(dir);
    assert_non_null(folder);
    const struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        struct stat st;
        if (blx_segment_number(entry->d_name) == 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
        assert_int_equal(stat(path, &st), 0);
        *used += (uint64_t)st.st_blocks * 512;
    }
    closedir(folder);
    for (size_t i = 0; i < history->count; i++) {
        BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
        if (history->images[i] == NULL)
            continue;
        test_ok(blx_manifest_read(blx_store_agent(&history->test.store, "web1"),
                                  history->timestamps[i], &manifest, &err),
                &err);
        *needed += manifest.volumes[0].stored_bytes;
    }
}

static void space_is_within_a_seventh_of_what_is_needed(void **state)
{
    (void)state;
    struct history history;
    struct blx_rewrite_report report;
    uint64_t used, needed;
    make_noise(&history, 23, 80);
    history_prune(&history, 90);
    measure(&history, &used, &needed);
    assert_true(used > needed + needed * 15 / 100);
    rewrite(&history, &report);
    measure(&history, &used, &needed);
    if (used > needed + needed * 15 / 100)
        fail_msg("%llu bytes are used where %llu are needed", (unsigned long long)used,
                 (unsigned long long)needed);
    history_check(&history);
    history_done(&history);
}

static void what_was_rewritten_is_not_rewritten_again(void **state)
{
    (void)state;
    struct history history;
    struct blx_rewrite_report report;
    make_noise(&history, 24, 60);
    history_prune(&history, 80);
    rewrite(&history, &report);
    assert_true(report.replaced > 0);
    assert_true(report.freed_bytes > 0);
    rewrite(&history, &report);
    assert_int_equal(report.replaced + report.put_off, 0);
    assert_int_equal(report.copied_bytes, 0);
    history_done(&history);
}

/* 40 checkpoints, a second base in the middle; of each half only the last one stays. */
static void make_two_halves(struct history *history)
{
    struct blx_error err = {0};
    struct blx_prune_report report;
    make_noise(history, 25, 20);
    test_ok(blx_agent_writer_begin(history->writer, 0, BLX_PASS_FULL, &err), &err);
    test_volume_send_all(&history->volume, history->writer, 16);
    for (size_t i = 0; i < 20; i++) {
        for (unsigned k = 0; k < 12; k++)
            history_noise(history, test_random(&history->random) % 90, 1);
        history_commit(history);
    }
    test_ok(test_prune(&history->test, history->timestamps, 19, &report, &err), &err);
    test_ok(test_prune(&history->test, history->timestamps + 20, 19, &report, &err), &err);
    for (size_t i = 0; i < 39; i++)
        if (i != 19)
            history_forget(history, i);
}

static void what_a_restore_reads_is_put_off(void **state)
{
    (void)state;
    struct blx_error err = {0};
    struct blx_agent_lock lock = {.fd = -1};
    struct blx_rewrite_report report;
    struct history history;
    make_two_halves(&history);
    test_ok(blx_agent_lock_begin(blx_store_agent(&history.test.store, "web1"),
                                 history.timestamps[39], &lock, &err),
            &err);
    blx_agent_lock_release(&lock, BLX_LOCK_CHAINS);
    rewrite(&history, &report);
    /* Another base hides the first half from that restore. */
    assert_true(report.replaced > 0);
    assert_true(report.put_off > 0);
    history_check(&history);
    blx_agent_lock_close(&lock);
    rewrite(&history, &report);
    assert_true(report.replaced > 0);
    assert_int_equal(report.put_off, 0);
    history_check(&history);
    history_done(&history);
}

/* The restore of a later checkpoint reads an earlier one's segments. */
static void what_a_later_restore_reads_is_put_off(void **state)
{
    (void)state;
    struct blx_error err = {0};
    struct blx_agent_lock lock = {.fd = -1};
    struct blx_rewrite_report report;
    struct blx_prune_report pruned;
    struct history history;
    make_noise(&history, 26, 20);
    test_ok(test_prune(&history.test, history.timestamps, 10, &pruned, &err), &err);
    test_ok(blx_agent_lock_begin(blx_store_agent(&history.test.store, "web1"),
                                 history.timestamps[15], &lock, &err),
            &err);
    blx_agent_lock_release(&lock, BLX_LOCK_CHAINS);
    rewrite(&history, &report);
    assert_int_equal(report.replaced, 0);
    assert_true(report.put_off > 0);
    blx_agent_lock_close(&lock);
    rewrite(&history, &report);
    assert_true(report.replaced > 0);
    history_done(&history);
}

static void a_verification_puts_it_off(void **state)
{
    (void)state;
    struct blx_error err = {0};
    struct blx_agent_lock lock = {.fd = -1};
    struct blx_rewrite_report report;
    struct history history;
    make_two_halves(&history);
    test_ok(blx_agent_lock_open(blx_store_agent(&history.test.store, "web1"), &lock, &err), &err);
    test_ok(blx_agent_lock_share(&lock, BLX_LOCK_CONTENTS, &err), &err);
    rewrite(&history, &report);
    assert_int_equal(report.replaced, 0);
    assert_true(report.put_off > 0);
    blx_agent_lock_close(&lock);
    history_check(&history);
    history_done(&history);
}

static void there_is_one_at_a_time(void **state)
{
    (void)state;
    struct blx_error err = {0};
    struct blx_agent_lock lock = {.fd = -1};
    struct blx_rewrite_report report;
    struct history history;
    make_two_halves(&history);
    test_ok(blx_agent_lock_open(blx_store_agent(&history.test.store, "web1"), &lock, &err), &err);
    test_ok(blx_agent_lock_alone(&lock, BLX_LOCK_REWRITES, 0, &err), &err);
    assert_int_equal(test_rewrite(&history.test, &report, &err), -EBUSY);
    assert_non_null(strstr(err.message, "being rewritten"));
    blx_agent_lock_close(&lock);
    history_done(&history);
}

/* Flips a byte of the first needed frame of the newest checkpoint's oldest segment. */
static void damage_needed_frame(const struct history *history)
{
    struct blx_error err = {0};
    char path[PATH_MAX];
    struct blx_segment_reader *reader;
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
    test_ok(blx_manifest_read(blx_store_agent(&history->test.store, "web1"),
                              history->timestamps[history->count - 1], &manifest, &err),
            &err);
    char dir[PATH_MAX];
    test_ok(blx_agent_store_volume_path(blx_store_agent(&history->test.store, "web1"), "sda", dir,
                                        &err),
            &err);
    uint32_t number = manifest.volumes[0].segments[manifest.volumes[0].segment_count - 1];
    test_ok(blx_segment_reader_open(dir, number, &reader, &err), &err);
    off_t offset = (off_t)blx_segment_reader_index(reader)->entries[0].frame_offset + 100;
    blx_segment_reader_close(reader);
    test_ok(blx_segment_path(dir, number, path, &err), &err);
    uint8_t byte;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= 0x20;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

static void a_damaged_frame_stays_where_it_is(void **state)
{
    (void)state;
    struct blx_error err = {0};
    struct blx_rewrite_report report;
    struct blx_verify_report before, after;
    struct history history;
    make_two_halves(&history);
    damage_needed_frame(&history);
    test_ok(blx_verify(&history.test.store, NULL, NULL, &before, &err), &err);
    assert_int_equal(before.damage_count, 1);
    rewrite(&history, &report);
    assert_true(report.damaged > 0);
    test_ok(blx_verify(&history.test.store, NULL, NULL, &after, &err), &err);
    assert_int_equal(after.damage_count, 1);
    assert_string_equal(after.damages[0].file, before.damages[0].file);
    assert_int_equal(after.hurt_count, before.hurt_count);
    blx_verify_report_done(&before);
    blx_verify_report_done(&after);
    history_done(&history);
}

static void it_is_no_faster_than_it_may_be(void **state)
{
    (void)state;
    struct blx_error err = {0};
    struct blx_rewrite_report report;
    struct history history;
    make_two_halves(&history);
    struct blx_rewrite_request request = {.bytes_per_second = 1 << 20};
    uint64_t began_ns = blx_clock_ns();
    test_ok(blx_rewrite(blx_store_agent(&history.test.store, "web1"), &request, &report, &err),
            &err);
    double seconds = (double)(blx_clock_ns() - began_ns) / 1e9;
    assert_true(report.copied_bytes > 200000);
    assert_true((double)report.copied_bytes / seconds <= 1.1 * (1 << 20));
    history_check(&history);
    history_done(&history);
}

static void it_stops_when_it_is_told(void **state)
{
    (void)state;
    struct blx_error err = {0};
    struct blx_rewrite_report report;
    struct history history;
    atomic_bool stop = true;
    make_two_halves(&history);
    struct blx_rewrite_request request = {.stop = &stop};
    assert_int_equal(
        blx_rewrite(blx_store_agent(&history.test.store, "web1"), &request, &report, &err),
        -ECANCELED);
    assert_int_equal(report.replaced, 0);
    history_check(&history);
    history_done(&history);
}

/* What the planning says is what is copied. */
struct told {
    uint64_t done_bytes, total_bytes;
};

static void note_progress(void *arg, uint64_t done_bytes, uint64_t total_bytes)
{
    struct told *told = arg;
    assert_true(done_bytes > told->done_bytes);
    *told = (struct told){done_bytes, total_bytes};
}

static void progress_ends_where_it_said(void **state)
{
    (void)state;
    struct blx_error err = {0};
    struct blx_rewrite_report report;
    struct history history;
    struct told told = {0};
    make_two_halves(&history);
    struct blx_rewrite_request request = {.progress = note_progress, .arg = &told};
    test_ok(blx_rewrite(blx_store_agent(&history.test.store, "web1"), &request, &report, &err),
            &err);
    assert_true(told.total_bytes > 0);
    assert_int_equal(told.done_bytes, told.total_bytes);
    assert_int_equal(told.done_bytes, report.copied_bytes);
    history_done(&history);
}

static void the_next_prune_removes_what_a_crash_left(void **state)
{
    (void)state;
    char dir[PATH_MAX], path[PATH_MAX + 32];
    struct blx_error err = {0};
    struct blx_prune_report report;
    struct history history;
    history_init(&history, 27);
    history_grow(&history, 3);
    test_ok(
        blx_agent_store_volume_path(blx_store_agent(&history.test.store, "web1"), "sda", dir, &err),
        &err);
    snprintf(path, sizeof(path), "%s/rewrite.tmp", dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    test_no_damage(&history.test);
    test_ok(test_prune(&history.test, NULL, 0, &report, &err), &err);
    assert_int_equal(access(path, F_OK), -1);
    history_check(&history);
    history_done(&history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_checkpoint_stays_bit_exact),
        cmocka_unit_test(a_session_goes_on_meanwhile),
        cmocka_unit_test(space_is_within_a_seventh_of_what_is_needed),
        cmocka_unit_test(what_was_rewritten_is_not_rewritten_again),
        cmocka_unit_test(what_a_restore_reads_is_put_off),
        cmocka_unit_test(what_a_later_restore_reads_is_put_off),
        cmocka_unit_test(a_verification_puts_it_off),
        cmocka_unit_test(there_is_one_at_a_time),
        cmocka_unit_test(a_damaged_frame_stays_where_it_is),
        cmocka_unit_test(it_is_no_faster_than_it_may_be),
        cmocka_unit_test(it_stops_when_it_is_told),
        cmocka_unit_test(progress_ends_where_it_said),
        cmocka_unit_test(the_next_prune_removes_what_a_crash_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
