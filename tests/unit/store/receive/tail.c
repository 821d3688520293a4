/* SPDX-License-Identifier: Apache-2.0 */
/* A session that is opened with what the one before left finds what a listing of the folders finds,
 * and lists none. */
#include "history.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/view/image.h"

static struct blx_agent_tail *end_session(struct history *history)
{
    struct blx_agent_tail *tail = blx_agent_writer_make_tail(history->writer);
    assert_non_null(tail);
    blx_agent_writer_close(history->writer);
    history->writer = NULL;
    return tail;
}

static void open_session(struct history *history, struct blx_agent_tail *tail,
                         struct blx_volume_state *state)
{
    struct blx_error err = {0};
    test_ok(blx_agent_writer_open(blx_store_agent(&history->test.store, "web1"), tail,
                                  &history->writer, &err),
            &err);
    blx_agent_writer_set_digest_key(history->writer, test_digest_key());
    test_ok(blx_agent_writer_add_volume(history->writer, &history->volume.info, state, &err), &err);
}

static void begin(struct history *history, enum blx_pass pass)
{
    struct blx_error err = {0};
    test_ok(blx_agent_writer_begin(history->writer, 0, pass, &err), &err);
}

static void check_same(const struct blx_volume_state *a, const struct blx_volume_state *b)
{
    assert_true(blx_generation_equal(&a->generation, &b->generation));
    assert_int_equal(a->durable_seq, b->durable_seq);
    assert_int_equal(a->image_bytes, b->image_bytes);
    assert_string_equal(a->reason, b->reason);
}

/* With the tail and without it; who is first recovers, so each is at times. */
static void reopen(struct history *history, struct blx_agent_tail *tail,
                   struct blx_volume_state *state)
{
    struct blx_volume_state listed = {0};
    bool tail_first = test_random(&history->random) % 2 == 0;
    if (tail_first) {
        open_session(history, tail, state);
        tail = end_session(history);
    }
    open_session(history, NULL, &listed);
    blx_agent_writer_close(history->writer);
    open_session(history, tail, state);
    check_same(state, &listed);
}

static void seal(struct history *history)
{
    struct blx_error err = {0};
    struct blx_image *image = NULL;
    test_ok(blx_agent_writer_open_image(history->writer, 0, BLX_IMAGE_FROM_TABLES, &image, &err),
            &err);
    blx_image_close(image);
}

/* What sessions do, in any order: some end with sealed segments that no checkpoint has, with a pass
 * that was not committed, or with nothing new. */
static void what_a_session_leaves_tells_what_a_listing_tells(void **state)
{
    (void)state;
    struct history history;
    history_init(&history, 77);
    history_commit(&history);
    for (unsigned session = 0; session < 80; session++) {
        struct blx_volume_state found = {0};
        bool full = test_random(&history.random) % 8 == 0;
        reopen(&history, end_session(&history), &found);
        assert_true(blx_generation_equal(&found.generation, &history.volume.info.generation));
        assert_int_equal(found.durable_seq, history.volume.seq);
        begin(&history, full ? BLX_PASS_FULL : BLX_PASS_RESUME);
        for (uint64_t frames = test_random(&history.random) % 4; !full && frames > 0; frames--) {
            history_change(&history);
            if (test_random(&history.random) % 2 == 0)
                seal(&history);
        }
        if (full) {
            test_volume_send_all(&history.volume, history.writer, 16);
            seal(&history);
        }
        if (test_random(&history.random) % 3 == 0)
            history_commit(&history);
    }
    history_commit(&history);
    history_check(&history);
    history_done(&history);
}

/* A segment that nobody could have made. */
static void put_stray_segment(const struct history *history)
{
    char path[PATH_MAX];
    test_path(&history->test, path, "agents/web1/volumes/sda/00009999.seg");
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static void no_folder_is_listed_after_another_session(void **state)
{
    (void)state;
    struct history history;
    struct blx_volume_state found = {0};
    history_init(&history, 78);
    history_grow(&history, 3);
    struct blx_agent_tail *tail = end_session(&history);
    put_stray_segment(&history);
    open_session(&history, tail, &found);
    assert_string_equal(found.reason, "");
    blx_agent_writer_close(history.writer);
    open_session(&history, NULL, &found);
    assert_string_not_equal(found.reason, ""); /* so a listing would have seen it */
    history_done(&history);
}

static void a_checkpoint_that_is_gone_makes_it_list(void **state)
{
    (void)state;
    struct history history;
    struct blx_volume_state found = {0};
    char path[PATH_MAX];
    history_init(&history, 79);
    history_grow(&history, 3);
    struct blx_agent_tail *tail = end_session(&history);
    test_path(&history.test, path, "agents/web1/checkpoints/%llu",
              (unsigned long long)history.timestamps[2]);
    assert_int_equal(unlink(path), 0);
    open_session(&history, tail, &found);
    assert_int_equal(blx_agent_writer_get_last(history.writer)->timestamp, history.timestamps[1]);
    history_done(&history);
}

static void a_volume_that_the_session_before_lacked_is_listed(void **state)
{
    (void)state;
    struct history history;
    struct blx_volume_state found = {0};
    struct test_volume other, *const volumes[] = {&history.volume, &other};
    history_init(&history, 80);
    history_commit(&history);
    struct blx_agent_tail *tail = end_session(&history);
    test_volume_init(&other, "sdb", HISTORY_BYTES, 2);
    other.info.volume = 1;
    open_session(&history, tail, &found);
    struct blx_error err = {0};
    test_ok(blx_agent_writer_add_volume(history.writer, &other.info, &found, &err), &err);
    begin(&history, BLX_PASS_RESUME);
    test_ok(blx_agent_writer_begin(history.writer, 1, BLX_PASS_FULL, &err), &err);
    test_writer_commit(history.writer, volumes, 2, 2000000000);
    tail = end_session(&history);
    assert_int_equal(tail->volume_count, 2);
    assert_non_null(blx_agent_tail_find(tail, "sdb"));
    assert_null(blx_agent_tail_find(tail, "sdc"));
    /* A frame that no checkpoint has, and a session in between that knows nothing of its volume. */
    open_session(&history, tail, &found);
    test_ok(blx_agent_writer_add_volume(history.writer, &other.info, &found, &err), &err);
    test_ok(blx_agent_writer_begin(history.writer, 1, BLX_PASS_RESUME, &err), &err);
    test_volume_frame(&other, &(uint64_t){3}, 1);
    test_ok(blx_agent_writer_append(history.writer, 1, other.frame, other.sent_bytes, &err), &err);
    open_session(&history, end_session(&history), &found);
    tail = end_session(&history);
    assert_null(blx_agent_tail_find(tail, "sdb"));
    open_session(&history, tail, &found);
    test_ok(blx_agent_writer_add_volume(history.writer, &other.info, &found, &err), &err);
    assert_int_equal(found.durable_seq, other.seq);
    test_volume_done(&other);
    history_done(&history);
}

static void a_session_whose_disk_failed_leaves_nothing(void **state)
{
    (void)state;
    struct history history;
    history_init(&history, 81);
    test_fault_arm(TEST_FAULT_ONCE, 0);
    struct blx_error err = {0};
    assert_int_equal(blx_agent_writer_sync(history.writer, NULL, NULL, &err), -EIO);
    assert_true(test_fault_disarm());
    assert_null(blx_agent_writer_make_tail(history.writer));
    history_done(&history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_session_leaves_tells_what_a_listing_tells),
        cmocka_unit_test(no_folder_is_listed_after_another_session),
        cmocka_unit_test(a_checkpoint_that_is_gone_makes_it_list),
        cmocka_unit_test(a_volume_that_the_session_before_lacked_is_listed),
        cmocka_unit_test(a_session_whose_disk_failed_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
