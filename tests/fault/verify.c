/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lib/store's judges: verify, a forced restore, the image that a rescan compares with, the standing
 * order to rescan, and the pause. Damage never passes for good because something failed on the way,
 * and a good file is never called damaged because memory ran short.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "loop.h"
#include "store/view/image.h"
#include "store/pause.h"
#include "store/rescan_order.h"
#include "store/restore/restore.h"
#include "store/verify/verify.h"
#include "store_state.h"
#include "sys.h"

struct judged {
    struct store_state state;
    bool damaged;
    struct blx_verify_report report;
    struct blx_losses losses;
    struct blx_image *image;
    uint8_t content[STATE_BYTES];
    char path[PATH_MAX];
    char reason[BLX_TEXT_BYTES];
    blx_timestamp since;
};

static struct judged judged;

/* One bit in the middle of the base's frames. */
static void damage(const struct store_state *state)
{
    char path[PATH_MAX];
    uint8_t byte;
    test_path(&state->test, path, "agents/web1/volumes/vda/00000001.seg");
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, 200), 1);
    byte ^= 4;
    assert_int_equal(pwrite(fd, &byte, 1, 200), 1);
    close(fd);
}

static void setup(void *arg)
{
    struct judged *judge = arg;
    bool damaged = judge->damaged;
    memset(judge, 0, sizeof(*judge));
    judge->damaged = damaged;
    store_state_init(&judge->state);
    if (damaged)
        damage(&judge->state);
    test_path(&judge->state.test, judge->path, "image");
}

static void teardown(void *arg)
{
    struct judged *judge = arg;
    blx_verify_report_done(&judge->report);
    blx_losses_done(&judge->losses);
    blx_image_close(judge->image);
    store_state_done(&judge->state);
}

static int run_verify(void *arg, struct blx_error *err)
{
    struct judged *judge = arg;
    return blx_verify(&judge->state.test.store, NULL, NULL, &judge->report, err);
}

static void check_verify(void *arg, int rc)
{
    struct judged *judge = arg;
    struct blx_verify_report *report = &judge->report;
    for (size_t i = 0; i < report->damage_count; i++)
        assert_null(strstr(report->damages[i].cause, "memory"));
    if (rc < 0 || report->damage_count > 0) { /* once more, with nothing failing */
        blx_verify_report_done(report);
        *report = (struct blx_verify_report){0};
        assert_int_equal(run_verify(arg, NULL), 0);
    }
    assert_int_equal(report->damage_count > 0, judge->damaged);
    assert_int_equal(report->checkpoints, 2);
}

static void verify_calls_nothing_good_that_is_damaged(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        judged.damaged = i;
        fault_loop(&(struct fault_case){setup, run_verify, check_verify, teardown, 0}, &judged);
    }
}

static int run_restore(void *arg, struct blx_error *err)
{
    struct judged *judge = arg;
    const struct blx_restore_target target = {.path = judge->path, .losses = &judge->losses};
    return blx_restore(blx_store_agent(&judge->state.test.store, "web1"),
                       judge->state.checkpoints[1], "vda", &target, NULL, err);
}

static uint64_t block_differences(const struct judged *judge)
{
    uint8_t found[STATE_BYTES];
    uint64_t count = 0;
    int fd = open(judge->path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, found, sizeof(found)), sizeof(found));
    close(fd);
    for (size_t at = 0; at < sizeof(found); at += TEST_BLOCK_BYTES)
        count += memcmp(found + at, judge->state.images[1] + at, TEST_BLOCK_BYTES) != 0;
    return count;
}

/* Differences are reported. */
static void check_restore(void *arg, int rc)
{
    struct judged *judge = arg;
    if (access(judge->path, F_OK) != 0) {
        assert_true(rc < 0);
        return;
    }
    uint64_t different = block_differences(judge);
    if (rc == 0 && judge->losses.count == 0)
        assert_int_equal(different, 0);
    if (rc == 0 && judge->damaged)
        assert_true(judge->losses.count > 0 && different > 0);
}

static void a_forced_restore_tells_all_that_it_could_not_write(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        judged.damaged = i;
        fault_loop(&(struct fault_case){setup, run_restore, check_restore, teardown, 0}, &judged);
    }
}

static void setup_writer(void *arg)
{
    struct judged *judge = arg;
    judge->damaged = false;
    setup(arg);
    judge->state.volume.has_digests = false; /* so that the image is of data */
    store_state_connect(&judge->state);
    assert_int_equal(blx_agent_writer_begin(judge->state.writer, 0, BLX_PASS_RESUME, NULL), 0);
}

static int run_image(void *arg, struct blx_error *err)
{
    struct judged *judge = arg;
    int rc = blx_agent_writer_open_image(judge->state.writer, 0, BLX_IMAGE_FROM_TABLES,
                                         &judge->image, err);
    return rc < 0 ? rc : blx_image_read(judge->image, 0, STATE_BLOCKS, judge->content, err);
}

/* The image is the volume as the last frames made it, or nobody gets it. */
static void check_image(void *arg, int rc)
{
    struct judged *judge = arg;
    if (rc == 0)
        assert_memory_equal(judge->content, judge->state.volume.image, STATE_BYTES);
    blx_image_close(judge->image);
    judge->image = NULL;
    store_state_check(&judge->state);
}

static void an_image_is_right_or_not_there(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){setup_writer, run_image, check_image, teardown, 0}, &judged);
}

static int run_give(void *arg, struct blx_error *err)
{
    return blx_rescan_order_give(blx_store_agent(&((struct judged *)arg)->state.test.store, "web1"),
                                 "a test", err);
}

static int look(struct judged *judge, struct blx_error *err)
{
    return blx_rescan_order_look(blx_store_agent(&judge->state.test.store, "web1"), judge->reason,
                                 err);
}

static void check_give(void *arg, int rc)
{
    struct judged *judge = arg;
    int stands = look(judge, NULL);
    assert_true(stands == 1 || (stands == 0 && rc < 0));
    if (stands == 1)
        assert_string_equal(judge->reason, "a test");
}

static void setup_order(void *arg)
{
    setup(arg);
    assert_int_equal(run_give(arg, NULL), 0);
}

static int run_look(void *arg, struct blx_error *err)
{
    int rc = look(arg, err);
    return rc < 0 ? rc : 0;
}

static void check_look(void *arg, int rc)
{
    assert_string_equal(((struct judged *)arg)->reason, rc == 0 ? "a test" : "");
}

static int run_done(void *arg, struct blx_error *err)
{
    return blx_rescan_order_done(blx_store_agent(&((struct judged *)arg)->state.test.store, "web1"),
                                 err);
}

static void check_done(void *arg, int rc)
{
    assert_int_equal(look(arg, NULL), rc < 0);
}

static void an_order_stands_until_it_is_done(void **state)
{
    (void)state;
    judged.damaged = false;
    fault_loop(&(struct fault_case){setup, run_give, check_give, teardown, 0}, &judged);
    fault_loop(&(struct fault_case){setup_order, run_look, check_look, teardown, 0}, &judged);
    fault_loop(&(struct fault_case){setup_order, run_done, check_done, teardown, 0}, &judged);
}

static const blx_timestamp noon = 20261122120000;

static int run_pause(void *arg, struct blx_error *err)
{
    return blx_pause_begin(blx_store_agent(&((struct judged *)arg)->state.test.store, "web1"), noon,
                           err);
}

static void check_pause(void *arg, int rc)
{
    struct judged *judge = arg;
    int stands =
        blx_pause_look(blx_store_agent(&judge->state.test.store, "web1"), &judge->since, NULL);
    assert_true(stands == 1 || (stands == 0 && rc < 0));
    assert_int_equal(judge->since, stands == 1 ? noon : 0);
}

static void setup_pause(void *arg)
{
    setup(arg);
    assert_int_equal(run_pause(arg, NULL), 0);
}

static int run_look_at_pause(void *arg, struct blx_error *err)
{
    struct judged *judge = arg;
    int rc = blx_pause_look(blx_store_agent(&judge->state.test.store, "web1"), &judge->since, err);
    return rc < 0 ? rc : 0;
}

static void check_look_at_pause(void *arg, int rc)
{
    assert_int_equal(((struct judged *)arg)->since, rc == 0 ? noon : 0);
}

static int run_resume(void *arg, struct blx_error *err)
{
    return blx_pause_end(blx_store_agent(&((struct judged *)arg)->state.test.store, "web1"), err);
}

static void check_resume(void *arg, int rc)
{
    struct judged *judge = arg;
    int stands =
        blx_pause_look(blx_store_agent(&judge->state.test.store, "web1"), &judge->since, NULL);
    assert_true(stands == 0 || (stands == 1 && rc < 0));
}

static void a_pause_stands_until_it_ends(void **state)
{
    (void)state;
    judged.damaged = false;
    fault_loop(&(struct fault_case){setup, run_pause, check_pause, teardown, 0}, &judged);
    fault_loop(
        &(struct fault_case){setup_pause, run_look_at_pause, check_look_at_pause, teardown, 0},
        &judged);
    fault_loop(&(struct fault_case){setup_pause, run_resume, check_resume, teardown, 0}, &judged);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verify_calls_nothing_good_that_is_damaged),
        cmocka_unit_test(a_forced_restore_tells_all_that_it_could_not_write),
        cmocka_unit_test(an_image_is_right_or_not_there),
        cmocka_unit_test(an_order_stands_until_it_is_done),
        cmocka_unit_test(a_pause_stands_until_it_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
