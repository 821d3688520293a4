/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints are removed; the others stay what they were, to the bit. */
#include "history.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/sys.h"
#include "store/agent_lock.h"
#include "store/checkpoint/pin.h"
#include "store/checkpoint/tested.h"
#include "store/prune/retention.h"
#include "store/verify/verify.h"

static void the_others_stay_bit_exact(void **state)
{
    (void)state;
    struct history history;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        history_init(&history, seed);
        for (unsigned round = 0; round < 6; round++) {
            history_grow(&history, 20);
            history_prune(&history, 20 + round * 15);
            history_check(&history);
        }
        history_done(&history);
    }
}

static void a_session_goes_on_while_checkpoints_are_removed(void **state)
{
    (void)state;
    struct history history;
    history_init(&history, 9);
    history_commit(&history);
    for (unsigned round = 0; round < 12; round++) {
        history_change(&history);
        history_prune(&history, 50);
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

/* A second base in the middle: blocks from before it do not get into later checkpoints. */
static void a_base_is_not_merged_with_what_lies_before(void **state)
{
    (void)state;
    struct blx_error err = {0};
    struct blx_prune_report report;
    struct blx_manifest manifest;
    struct history history;
    history_init(&history, 3);
    history_grow(&history, 5);
    test_ok(blx_agent_writer_begin(history.writer, 0, BLX_PASS_FULL, &err), &err);
    test_volume_send_all(&history.volume, history.writer, 16);
    history_grow(&history, 5);
    /* All but the last but one before the base, and the newest. */
    for (size_t i = 0; i + 1 < history.count; i++)
        if (i != 3)
            history_forget(&history, i);
    test_ok(test_prune(&history.test, history.timestamps, 3, &report, &err), &err);
    test_ok(test_prune(&history.test, history.timestamps + 4, 5, &report, &err), &err);
    assert_int_equal(report.removed, 5);
    history_check(&history);
    test_ok(blx_manifest_read(blx_store_agent(&history.test.store, "web1"), history.timestamps[9],
                              &manifest, &err),
            &err);
    assert_true(manifest.volumes[0].base);
    assert_false(manifest.volumes[0].clearing);
    assert_int_equal(manifest.parent, history.timestamps[3]);
    blx_manifest_done(&manifest);
    history_done(&history);
}

static void the_newest_checkpoint_is_not_removed(void **state)
{
    (void)state;
    struct blx_error err = {0};
    struct blx_prune_report report;
    struct history history;
    history_init(&history, 4);
    history_grow(&history, 3);
    assert_int_equal(test_prune(&history.test, history.timestamps, 3, &report, &err), -EINVAL);
    assert_int_equal(report.removed, 0);
    history_check(&history);
    history_done(&history);
}

/* A power cut kept the removals in another order: of three that follow each other the oldest is
 * gone. */
static void what_a_cut_off_prune_left_is_no_damage(void **state)
{
    (void)state;
    struct blx_error err = {0};
    struct blx_prune_report report;
    struct history history;
    void *content[2];
    size_t bytes[2];
    char paths[2][PATH_MAX];
    history_init(&history, 17);
    history_grow(&history, 5);
    for (size_t i = 0; i < 2; i++) {
        test_ok(blx_manifest_path(blx_store_agent(&history.test.store, "web1"),
                                  history.timestamps[2 + i], paths[i], &err),
                &err);
        test_ok(blx_file_read(paths[i], 1 << 20, &content[i], &bytes[i], &err), &err);
    }
    test_ok(test_prune(&history.test, history.timestamps + 1, 3, &report, &err), &err);
    for (size_t i = 0; i < 2; i++)
        test_ok(blx_file_replace(paths[i], content[i], bytes[i], 0600, &err), &err);
    free(content[0]);
    free(content[1]);
    test_no_damage(&history.test);
    /* The next one ends it. */
    test_ok(test_prune(&history.test, history.timestamps + 1, 3, &report, &err), &err);
    assert_int_equal(report.removed, 2);
    for (size_t i = 1; i <= 3; i++)
        history_forget(&history, i);
    history_check(&history);
    history_done(&history);
}

/* What a removal builds upon: the folders of the names, and which of them were flushed. */
static struct {
    ino_t folders[2];
    bool flushed[2];
    unsigned changes;
} names;

static int note_flush(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    for (size_t i = 0; i < 2; i++)
        names.flushed[i] = names.flushed[i] || st.st_ino == names.folders[i];
    return 0;
}

static void note_change(void)
{
    names.changes++;
    assert_true(names.flushed[0] && names.flushed[1]);
}

static int note_rename(const char *from, const char *to)
{
    note_change();
    return blx_sys_real.rename(from, to);
}

static int note_unlink(const char *path)
{
    note_change();
    return blx_sys_real.unlink(path);
}

static int note_fallocate(int fd, int mode, off_t offset, off_t bytes)
{
    note_change();
    return blx_sys_real.fallocate(fd, mode, offset, bytes);
}

/* The one before may have died after its renames and before their folder was flushed. */
static void nothing_is_removed_for_a_name_that_may_disappear(void **state)
{
    (void)state;
    struct blx_error err = {0};
    struct blx_prune_report report;
    struct blx_rewrite_report rewritten;
    struct history history;
    struct blx_sys table = blx_sys_real;
    static const char *const folders[] = {"agents/web1/checkpoints", "agents/web1/volumes/sda"};
    table.fsync = table.fdatasync = note_flush;
    table.rename = note_rename;
    table.unlink = note_unlink;
    table.fallocate = note_fallocate;
    history_init(&history, 23);
    history_grow(&history, 20);
    for (size_t i = 0; i < 2; i++) {
        char path[PATH_MAX];
        struct stat st;
        test_path(&history.test, path, "%s", folders[i]);
        assert_int_equal(stat(path, &st), 0);
        names.folders[i] = st.st_ino;
    }
    blx_sys = &table;
    test_ok(test_prune(&history.test, history.timestamps, 15, &report, &err), &err);
    assert_true(names.changes > 0);
    names.changes = 0;
    names.flushed[0] = names.flushed[1] = false;
    test_ok(test_rewrite(&history.test, &rewritten, &err), &err);
    assert_true(names.changes > 0);
    test_fsync_off();
    for (size_t i = 0; i < 15; i++)
        history_forget(&history, i);
    history_check(&history);
    history_done(&history);
}

static void a_pinned_checkpoint_stays_until_it_is_unpinned(void **state)
{
    (void)state;
    struct blx_error err = {0};
    struct blx_prune_report report;
    struct history history;
    history_init(&history, 5);
    history_grow(&history, 6);
    test_ok(blx_pin_write(blx_store_agent(&history.test.store, "web1"), history.timestamps[2], true,
                          &err),
            &err);
    test_ok(blx_pin_write(blx_store_agent(&history.test.store, "web1"), history.timestamps[2], true,
                          &err),
            &err);
    assert_int_equal(blx_pin_write(blx_store_agent(&history.test.store, "web1"), 20200101000000,
                                   BLX_PIN_ON, &err),
                     -ENOENT);
    test_ok(test_prune(&history.test, history.timestamps, 5, &report, &err), &err);
    assert_int_equal(report.removed, 4);
    assert_int_equal(report.pinned, 1);
    for (size_t i = 0; i < 5; i++)
        if (i != 2)
            history_forget(&history, i);
    history_check(&history);
    test_ok(blx_pin_write(blx_store_agent(&history.test.store, "web1"), history.timestamps[2],
                          BLX_PIN_OFF, &err),
            &err);
    test_ok(test_prune(&history.test, history.timestamps, 5, &report, &err), &err);
    assert_int_equal(report.removed, 1);
    history_forget(&history, 2);
    history_check(&history);
    history_done(&history);
}

static void write_test(const struct history *history, size_t at, enum blx_test_result boot)
{
    struct blx_error err = {0};
    const struct blx_tested tested = {.checkpoint = history->timestamps[at],
                                      .level = BLX_TEST_LEVEL_BOOT,
                                      .results = {[BLX_TEST_BOOT] = boot}};
    test_ok(blx_tested_write(blx_store_agent(&history->test.store, "web1"), &tested, &err), &err);
}

static void keep_tested_spares_the_last_good_one_and_records_go_with_checkpoints(void **state)
{
    (void)state;
    struct blx_error err = {0};
    struct blx_prune_report report;
    struct blx_retention_plan plan;
    struct blx_tested tested;
    struct history history;
    const struct blx_retention retention = {.keep = {[BLX_KEEP_LAST] = 1, [BLX_KEEP_TESTED] = 1}};
    history_init(&history, 5);
    history_grow(&history, 6);
    write_test(&history, 0, BLX_TEST_GOOD);
    write_test(&history, 1, BLX_TEST_GOOD);
    write_test(&history, 3, BLX_TEST_BAD);
    const struct blx_agent_store web1 = blx_store_agent(&history.test.store, "web1");
    test_ok(blx_retention_plan_make(web1, &retention, 0, &plan, &err), &err);
    assert_int_equal(plan.doomed_count, 4);
    assert_int_equal(plan.verdicts[1], blx_retention_bit(BLX_KEEP_TESTED));
    test_ok(test_prune(&history.test, plan.doomed, plan.doomed_count, &report, &err), &err);
    blx_retention_plan_done(&plan);
    for (size_t i = 0; i < 5; i++)
        if (i != 1)
            history_forget(&history, i);
    history_check(&history);
    blx_timestamp *left = NULL;
    size_t count = 0;
    test_ok(blx_tested_list(web1, &left, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_int_equal(left[0], history.timestamps[1]);
    free(left);
    test_ok(blx_tested_find_proven(web1, &tested, &err), &err);
    assert_int_equal(tested.checkpoint, history.timestamps[1]);
    history_done(&history);
}

static void a_checkpoint_that_is_read_stays_until_it_is_not(void **state)
{
    (void)state;
    struct blx_error err = {0};
    struct blx_prune_report report;
    struct blx_agent_lock lock = {.fd = -1};
    struct history history;
    history_init(&history, 6);
    history_grow(&history, 8);
    test_ok(blx_agent_lock_begin(blx_store_agent(&history.test.store, "web1"),
                                 history.timestamps[3], &lock, &err),
            &err);
    blx_agent_lock_release(&lock, BLX_LOCK_CHAINS);
    test_ok(test_prune(&history.test, history.timestamps, 7, &report, &err), &err);
    assert_int_equal(report.removed, 6);
    assert_int_equal(report.in_use, 1);
    for (size_t i = 0; i < 7; i++)
        if (i != 3)
            history_forget(&history, i);
    history_check(&history);
    blx_agent_lock_close(&lock);
    test_ok(test_prune(&history.test, history.timestamps, 7, &report, &err), &err);
    assert_int_equal(report.removed, 1);
    history_forget(&history, 3);
    history_check(&history);
    history_done(&history);
}

static void a_verification_keeps_a_prune_waiting(void **state)
{
    (void)state;
    struct blx_error err = {0};
    struct blx_prune_report report;
    struct blx_agent_lock lock = {.fd = -1};
    struct history history;
    history_init(&history, 7);
    history_grow(&history, 3);
    test_ok(blx_agent_lock_open(blx_store_agent(&history.test.store, "web1"), &lock, &err), &err);
    test_ok(blx_agent_lock_share(&lock, BLX_LOCK_CONTENTS, &err), &err);
    assert_int_equal(test_prune(&history.test, history.timestamps, 2, &report, &err), -EBUSY);
    history_check(&history);
    blx_agent_lock_close(&lock);
    history_done(&history);
}

static void flip(const char *path, off_t offset)
{
    uint8_t byte;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

static void nothing_is_removed_while_a_manifest_is_damaged(void **state)
{
    (void)state;
    struct blx_error err = {0};
    struct blx_prune_report report;
    char path[PATH_MAX];
    struct history history;
    history_init(&history, 8);
    history_grow(&history, 6);
    test_ok(blx_manifest_path(blx_store_agent(&history.test.store, "web1"), history.timestamps[3],
                              path, &err),
            &err);
    flip(path, 100);
    assert_int_equal(test_prune(&history.test, history.timestamps, 2, &report, &err), -EBADMSG);
    assert_non_null(strstr(err.message, "nothing is removed"));
    flip(path, 100);
    history_check(&history);
    history_done(&history);
}

/* A disk that the agent has no more: its last state is some checkpoint's, and stays. */
static void the_newest_checkpoint_of_each_volume_stays(void **state)
{
    (void)state;
    struct blx_error err = {0};
    struct blx_prune_report report;
    struct test_store test;
    struct test_volume a, b;
    struct test_volume *const both[] = {&a, &b}, *const one[] = {&a};
    blx_timestamp times[6];
    test_store_init(&test);
    test_volume_init(&a, "sda", HISTORY_BYTES, 1);
    test_volume_init(&b, "sdb", HISTORY_BYTES, 2);
    struct blx_agent_writer *writer = test_writer_open(&test, both, 2, NULL);
    test_ok(blx_agent_writer_begin(writer, 0, BLX_PASS_FULL, &err), &err);
    test_ok(blx_agent_writer_begin(writer, 1, BLX_PASS_FULL, &err), &err);
    for (uint64_t i = 0; i < 3; i++) {
        test_volume_send(&a, writer, i, i + 50);
        test_volume_send(&b, writer, i, i + 60);
        times[i] = test_writer_commit(writer, both, 2, 1000000000 + i);
    }
    blx_agent_writer_close(writer);
    writer = test_writer_open(&test, one, 1, NULL);
    test_ok(blx_agent_writer_begin(writer, 0, BLX_PASS_RESUME, &err), &err);
    uint8_t *before = malloc(HISTORY_BLOCKS * TEST_BLOCK_BYTES);
    memcpy(before, a.image, HISTORY_BLOCKS * TEST_BLOCK_BYTES);
    for (uint64_t i = 3; i < 6; i++) {
        test_volume_send(&a, writer, i, i + 50);
        times[i] = test_writer_commit(writer, one, 1, 1000000000 + i);
    }
    blx_agent_writer_close(writer);
    assert_int_equal(test_prune(&test, times + 2, 1, &report, &err), -EINVAL);
    const blx_timestamp doomed[] = {times[0], times[1], times[3], times[4]};
    test_ok(test_prune(&test, doomed, 4, &report, &err), &err);
    assert_int_equal(report.removed, 4);
    test_restores_to(&test, times[2], "sda", before, HISTORY_BYTES);
    test_restores_to(&test, times[2], "sdb", b.image, HISTORY_BYTES);
    test_restores_to(&test, times[5], "sda", a.image, HISTORY_BYTES);
    test_no_damage(&test);
    free(before);
    test_volume_done(&a);
    test_volume_done(&b);
    test_store_done(&test);
}

/* A session as an agent has it that was broken into: a disk of another name. */
static void take_with_invented_name(struct test_store *test, struct test_volume *sda, unsigned i)
{
    struct blx_error err = {0};
    struct test_volume invented;
    char name[BLX_NAME_BYTES];
    snprintf(name, sizeof(name), "x%u", i);
    test_volume_init(&invented, name, HISTORY_BYTES, 2);
    struct test_volume *const volumes[] = {sda, &invented};
    struct blx_agent_writer *writer = test_writer_open(test, volumes, 2, NULL);
    test_ok(blx_agent_writer_begin(writer, 0, i == 0 ? BLX_PASS_FULL : BLX_PASS_RESUME, &err),
            &err);
    test_ok(blx_agent_writer_begin(writer, 1, BLX_PASS_FULL, &err), &err);
    test_volume_send(sda, writer, i % HISTORY_BLOCKS, i + 1);
    test_volume_send(&invented, writer, 0, i + 1);
    test_writer_commit(writer, volumes, 2, 1000000000 + i);
    blx_agent_writer_close(writer);
    test_volume_done(&invented);
}

static void expect_segment(const struct test_store *test, const char *volume, bool there)
{
    char path[PATH_MAX];
    test_path(test, path, "agents/web1/volumes/%s/00000001.seg", volume);
    assert_int_equal(access(path, F_OK), there ? 0 : -1);
}

/* Twice as many names as a checkpoint can have, so that some are carried no more. */
static void invented_names_do_not_escape_retention(void **state)
{
    (void)state;
    enum { KEPT = BLX_MAX_VOLUMES, SESSIONS = 2 * KEPT + 6 };
    struct blx_error err = {0};
    struct blx_prune_report report;
    struct test_store test;
    struct test_volume sda;
    test_fsync_off();
    test_store_init(&test);
    test_volume_init(&sda, "sda", HISTORY_BYTES, 1);
    for (unsigned i = 0; i < SESSIONS; i++)
        take_with_invented_name(&test, &sda, i);
    const struct blx_agent_store agent = blx_store_agent(&test.store, "web1");
    BLX_CLEANUP(blx_retention_plan_done) struct blx_retention_plan plan = {0};
    const struct blx_retention last = {.keep = {[BLX_KEEP_LAST] = 1}};
    test_ok(blx_retention_plan_make(agent, &last, UINT64_MAX, &plan, &err), &err);
    /* The first names keep their checkpoints: "sda", whose newest is the last, and 63 more. */
    assert_int_equal(plan.doomed_count, SESSIONS - KEPT);
    assert_int_equal(plan.verdicts[KEPT - 2], blx_retention_bit(BLX_KEEP_NEWEST));
    assert_int_equal(plan.verdicts[KEPT - 1], 0);
    assert_int_equal(plan.verdicts[SESSIONS - 2], 0);
    assert_int_not_equal(plan.verdicts[SESSIONS - 1], 0);
    /* The prune holds to the same rule. */
    assert_int_equal(test_prune(&test, plan.timestamps + KEPT - 2, 1, &report, &err), -EINVAL);
    expect_segment(&test, "x63", true);
    test_ok(test_prune(&test, plan.doomed, plan.doomed_count, &report, &err), &err);
    assert_int_equal(report.removed, plan.doomed_count);
    test_restores_to(&test, plan.timestamps[SESSIONS - 1], "sda", sda.image, HISTORY_BYTES);
    expect_segment(&test, "x0", true);   /* it has its checkpoint */
    expect_segment(&test, "x63", false); /* nobody knows it any more */
    expect_segment(&test, "x132", true); /* the last one carries it */
    test_no_damage(&test);
    test_volume_done(&sda);
    test_store_done(&test);
}

/* Large frames that do not compress, each superseded as a whole. */
static void space_of_dead_frames_is_given_back(void **state)
{
    (void)state;
    struct blx_error err = {0};
    struct blx_prune_report report;
    struct history history;
    history_init(&history, 10);
    for (unsigned i = 0; i < 30; i++) {
        history_noise(&history, i % 5 * 16, 16);
        if (i % 3 == 2)
            history_commit(&history);
    }
    test_ok(test_prune(&history.test, history.timestamps, history.count - 1, &report, &err), &err);
    for (size_t i = 0; i + 1 < history.count; i++)
        history_forget(&history, i);
    history_check(&history);
    struct blx_manifest manifest;
    test_ok(blx_manifest_read(blx_store_agent(&history.test.store, "web1"),
                              history.timestamps[history.count - 1], &manifest, &err),
            &err);
    uint64_t used_bytes = 0;
    for (uint32_t i = 0; i < manifest.volumes[0].segment_count; i++) {
        char path[PATH_MAX];
        struct stat st;
        test_path(&history.test, path, "agents/web1/volumes/sda/%08u.seg",
                  manifest.volumes[0].segments[i]);
        assert_int_equal(stat(path, &st), 0);
        used_bytes += (uint64_t)st.st_blocks * 512;
    }
    assert_in_range(manifest.volumes[0].stored_bytes, 5 * 16 * TEST_BLOCK_BYTES,
                    6 * 16 * TEST_BLOCK_BYTES + 4096);
    assert_true(used_bytes * 100 < manifest.volumes[0].stored_bytes * 115);
    assert_true(report.freed_bytes > 20 * 16 * TEST_BLOCK_BYTES);
    blx_manifest_done(&manifest);
    history_done(&history);
}

static size_t damage_count(const struct test_store *test, bool *hurts)
{
    struct blx_error err = {0};
    struct blx_verify_report report;
    test_ok(blx_verify(&test->store, NULL, NULL, &report, &err), &err);
    size_t count = report.damage_count;
    *hurts = report.hurt_count > 0;
    blx_verify_report_done(&report);
    return count;
}

static void each_segment(const struct test_store *test,
                         void (*visit)(const struct test_store *test, const char *path, off_t size))
{
    char dir[PATH_MAX];
    test_path(test, dir, "agents/web1/volumes/sda");
    DIR *entries = opendir(dir);
    assert_non_null(entries);
    const struct dirent *entry;
    while ((entry = readdir(entries)) != NULL) {
        char path[PATH_MAX];
        struct stat st;
        if (blx_segment_number(entry->d_name) == 0)
            continue;
        test_path(test, path, "agents/web1/volumes/sda/%s", entry->d_name);
        assert_int_equal(stat(path, &st), 0);
        visit(test, path, st.st_size);
    }
    closedir(entries);
}

static void flip_everywhere(const struct test_store *test, const char *path, off_t size)
{
    for (off_t offset = 0; offset < size; offset += 83) {
        bool hurts;
        flip(path, offset);
        if (damage_count(test, &hurts) == 0)
            fail_msg("a bit that flipped in '%s' at %lld was not found", path, (long long)offset);
        flip(path, offset);
    }
}

static bool has_holes;

static void find_holes(const struct test_store *test, const char *path, off_t size)
{
    (void)test;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    has_holes = has_holes || lseek(fd, 0, SEEK_HOLE) < size;
    close(fd);
}

/* In frames, in holes, in indexes. */
static void a_flipped_bit_is_found_after_a_prune(void **state)
{
    (void)state;
    struct history history;
    history_init(&history, 11);
    for (uint64_t i = 0; i < 12; i++) {
        history_noise(&history, i % 4 * 3, 3);
        history_grow(&history, 1);
    }
    history_prune(&history, 70);
    has_holes = false;
    each_segment(&history.test, find_holes);
    assert_true(has_holes);
    each_segment(&history.test, flip_everywhere);
    test_no_damage(&history.test);
    history_done(&history);
}

static unsigned zeroed;

/* Each data frame in its turn becomes zeros, which are none of the holes that nobody needs. */
static void zero_frames(const struct test_store *test, const char *path, off_t size)
{
    uint8_t *content = malloc((size_t)size);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0 && content != NULL);
    assert_int_equal(pread(fd, content, (size_t)size, 0), size);
    for (off_t at = 32; at + (off_t)sizeof(struct blx_frame_header_disk) < size;) {
        size_t bytes;
        struct blx_frame frame;
        if (blx_frame_peek(content + at, &bytes, NULL) < 0 || (off_t)bytes > size - at ||
            blx_frame_parse(content + at, bytes, &frame, NULL) < 0) {
            at++;
            continue;
        }
        uint8_t *zeros = calloc(1, bytes);
        bool hurts;
        assert_int_equal(pwrite(fd, zeros, bytes, at), bytes);
        size_t damages = damage_count(test, &hurts);
        assert_true(damages > 0 || !hurts);
        zeroed += hurts;
        assert_int_equal(pwrite(fd, content + at, bytes, at), bytes);
        free(zeros);
        at += (off_t)bytes;
    }
    free(content);
    close(fd);
}

static void zeros_that_a_checkpoint_needs_are_damage(void **state)
{
    (void)state;
    struct history history;
    history_init(&history, 12);
    for (uint64_t i = 0; i < 12; i++) {
        history_noise(&history, i % 4 * 3, 3);
        history_grow(&history, 1);
    }
    history_prune(&history, 70);
    zeroed = 0;
    each_segment(&history.test, zero_frames);
    assert_true(zeroed >= HISTORY_BLOCKS / 16);
    test_no_damage(&history.test);
    history_done(&history);
}

static struct blx_agent_writer *resume(const struct test_store *test,
                                       struct test_volume *const *volumes, size_t count)
{
    struct blx_error err = {0};
    struct blx_agent_writer *writer = test_writer_open(test, volumes, count, NULL);
    for (uint32_t v = 0; v < count; v++)
        test_ok(blx_agent_writer_begin(writer, v, BLX_PASS_RESUME, &err), &err);
    return writer;
}

/* What a removed checkpoint had of a volume that is away goes to the one that carries its chain. */
static void a_carried_chain_outlives_the_checkpoints_before_it(void **state)
{
    (void)state;
    enum { BLOCKS = 64, MEANWHILE = 4 };
    struct test_store test;
    struct test_volume sda, sdb;
    struct test_volume *volumes[] = {&sda, &sdb};
    struct blx_prune_report report;
    struct blx_error err = {0};
    blx_timestamp stamps[MEANWHILE + 3];
    size_t count = 0;
    test_store_init(&test);
    test_volume_init(&sda, "sda", BLOCKS * TEST_BLOCK_BYTES, 1);
    test_volume_init(&sdb, "sdb", BLOCKS * TEST_BLOCK_BYTES, 2);
    struct blx_agent_writer *writer = test_writer_open(&test, volumes, 2, NULL);
    for (uint32_t v = 0; v < 2; v++) {
        for (uint64_t block = 0; block < BLOCKS; block++)
            test_volume_write(volumes[v], block, block + 1 + v);
        test_ok(blx_agent_writer_begin(writer, v, BLX_PASS_FULL, &err), &err);
        test_volume_send_all(volumes[v], writer, 8);
    }
    stamps[count++] = test_writer_commit(writer, volumes, 2, 1000000000);
    test_volume_send(&sdb, writer, 3, 77);
    stamps[count++] = test_writer_commit(writer, volumes, 2, 1000000010);
    blx_agent_writer_close(writer);
    writer = resume(&test, volumes, 1);
    for (uint64_t i = 0; i < MEANWHILE; i++) {
        test_volume_send(&sda, writer, i, 500 + i);
        stamps[count++] = test_writer_commit(writer, volumes, 1, 1000000100 + 10 * i);
    }
    blx_agent_writer_close(writer);
    test_no_damage(&test);
    /* The newest that has sdb stays, though others carry it. */
    assert_int_equal(test_prune(&test, &stamps[1], 1, &report, &err), -EINVAL);
    test_ok(test_prune(&test, stamps, 1, &report, &err), &err);
    test_ok(test_prune(&test, stamps + 2, 2, &report, &err), &err);
    test_no_damage(&test);
    test_restores_to(&test, stamps[1], "sdb", sdb.image, sdb.info.size_bytes);
    test_restores_to(&test, stamps[count - 1], "sda", sda.image, sda.info.size_bytes);
    writer = resume(&test, volumes, 2);
    test_volume_send(&sdb, writer, 9, 99);
    stamps[count++] = test_writer_commit(writer, volumes, 2, 1000000200);
    blx_agent_writer_close(writer);
    /* One that carries sdb stays, and takes over what the chain needs. */
    test_ok(test_prune(&test, stamps + 1, 1, &report, &err), &err);
    test_no_damage(&test);
    test_restores_to(&test, stamps[count - 1], "sdb", sdb.image, sdb.info.size_bytes);
    test_ok(test_prune(&test, stamps + 4, 2, &report, &err), &err);
    test_no_damage(&test);
    for (size_t v = 0; v < 2; v++)
        test_restores_to(&test, stamps[count - 1], v == 0 ? "sda" : "sdb", volumes[v]->image,
                         sda.info.size_bytes);
    test_volume_done(&sda);
    test_volume_done(&sdb);
    test_store_done(&test);
}

/* A volume that got frames and never a checkpoint goes when nobody has touched it for long. */
static void volume_without_a_checkpoint_goes_after_a_week(void **state)
{
    (void)state;
    struct blx_error err = {0};
    struct blx_prune_report report;
    struct history history;
    struct test_volume other;
    const struct timespec old[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    const char *const files[] = {"/volume", "/open.seg", "/open.digests", ""};
    char path[PATH_MAX];
    history_init(&history, 31);
    history_commit(&history);
    blx_agent_writer_close(history.writer);
    test_volume_init(&other, "sdb", HISTORY_BYTES, 2);
    struct test_volume *const one[] = {&other};
    struct blx_agent_writer *writer = test_writer_open(&history.test, one, 1, NULL);
    test_path(&history.test, path, "agents/web1/volumes/sdb");
    test_ok(blx_agent_writer_begin(writer, 0, BLX_PASS_FULL, &err), &err);
    assert_int_equal(access(path, F_OK), -1); /* nothing of a name alone */
    test_volume_send(&other, writer, 1, 7);
    assert_int_equal(blx_agent_writer_sync(writer, NULL, NULL, &err), 0);
    blx_agent_writer_close(writer);
    history.writer = NULL;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        test_ok(test_prune(&history.test, NULL, 0, &report, &err), &err);
        test_path(&history.test, path, "agents/web1/volumes/sdb%s", files[i]);
        assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
    }
    test_ok(test_prune(&history.test, NULL, 0, &report, &err), &err);
    assert_int_equal(access(path, F_OK), -1);
    history_begin(&history, BLX_PASS_RESUME);
    history_check(&history);
    test_volume_done(&other);
    history_done(&history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_others_stay_bit_exact),
        cmocka_unit_test(a_session_goes_on_while_checkpoints_are_removed),
        cmocka_unit_test(a_base_is_not_merged_with_what_lies_before),
        cmocka_unit_test(the_newest_checkpoint_is_not_removed),
        cmocka_unit_test(what_a_cut_off_prune_left_is_no_damage),
        cmocka_unit_test(nothing_is_removed_for_a_name_that_may_disappear),
        cmocka_unit_test(a_pinned_checkpoint_stays_until_it_is_unpinned),
        cmocka_unit_test(keep_tested_spares_the_last_good_one_and_records_go_with_checkpoints),
        cmocka_unit_test(a_checkpoint_that_is_read_stays_until_it_is_not),
        cmocka_unit_test(a_verification_keeps_a_prune_waiting),
        cmocka_unit_test(nothing_is_removed_while_a_manifest_is_damaged),
        cmocka_unit_test(the_newest_checkpoint_of_each_volume_stays),
        cmocka_unit_test(invented_names_do_not_escape_retention),
        cmocka_unit_test(a_carried_chain_outlives_the_checkpoints_before_it),
        cmocka_unit_test(space_of_dead_frames_is_given_back),
        cmocka_unit_test(a_flipped_bit_is_found_after_a_prune),
        cmocka_unit_test(zeros_that_a_checkpoint_needs_are_damage),
        cmocka_unit_test(volume_without_a_checkpoint_goes_after_a_week),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
