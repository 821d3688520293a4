/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of a verification, and its report: damage hurts just the checkpoints that need the
 * damaged frames, whatever fails on the way. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loop.h"
#include "store/segment/segment_check_private.h"
#include "store/verify/verify_agent_private.h"
#include "store/verify/verify_report_private.h"
#include "store_state.h"
#include "sys.h"

/* In store_state a frame that both checkpoints need is all zeros. */

struct verifying {
    struct blx_verify_agent agent;
    struct blx_verify_report report;
    struct blx_damage damage;
};

static void setup(void *arg)
{
    memset(arg, 0, sizeof(struct verifying));
}

static void teardown(void *arg)
{
    struct verifying *verifying = arg;
    blx_verify_agent_done(&verifying->agent);
    blx_verify_report_done(&verifying->report);
    free(verifying->damage.checkpoints);
}

static int run_open(void *arg, struct blx_error *err)
{
    struct verifying *verifying = arg;
    return blx_verify_agent_open(blx_store_agent(&store_state.test.store, "web1"),
                                 &verifying->agent, &verifying->report, err);
}

/* A disk error is a damage of the report; memory is none. */
static void check_open(void *arg, int rc)
{
    const struct verifying *verifying = arg;
    for (size_t i = 0; i < verifying->report.damage_count; i++)
        assert_null(strstr(verifying->report.damages[i].cause, "memory"));
    if (rc < 0)
        return;
    assert_int_equal(verifying->agent.checkpoint_count, 2);
    assert_int_equal(verifying->agent.volume_count, 1);
    assert_int_equal(verifying->agent.volumes[0].segment_count, 3);
}

/* As a verification's workers leave it. */
static void setup_checked(void *arg)
{
    struct verifying *verifying = arg;
    setup(arg);
    assert_int_equal(run_open(arg, NULL), 0);
    struct blx_verify_volume *volume = &verifying->agent.volumes[0];
    for (size_t i = 0; i < volume->segment_count; i++) {
        struct blx_verify_segment *segment = &volume->segments[i];
        const struct blx_segment_request request = {.volume_dir = volume->dir,
                                                    .number = segment->number,
                                                    .block_shift = segment->block_shift,
                                                    .blocks = segment->blocks};
        assert_int_equal(blx_segment_check(&request, &segment->findings, NULL), 0);
    }
}

static int run_holes(void *arg, struct blx_error *err)
{
    return blx_verify_agent_holes(&((struct verifying *)arg)->agent, err);
}

static int run_judge(void *arg, struct blx_error *err)
{
    struct verifying *verifying = arg;
    return blx_verify_agent_judge(&verifying->agent, &verifying->report, err);
}

static void assert_both_are_hurt(const struct verifying *verifying)
{
    assert_true(verifying->report.damage_count > 0);
    assert_int_equal(verifying->report.hurt_count, 2);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(verifying->report.hurt[i].checkpoint, store_state.checkpoints[i]);
}

static void check_holes(void *arg, int rc)
{
    if (rc < 0)
        return;
    assert_int_equal(run_judge(arg, NULL), 0);
    assert_both_are_hurt(arg);
}

static void setup_judge(void *arg)
{
    setup_checked(arg);
    assert_int_equal(run_holes(arg, NULL), 0);
}

static void check_judge(void *arg, int rc)
{
    if (rc == 0)
        assert_both_are_hurt(arg);
}

static void a_damage_hurts_whom_it_hurts_or_is_an_error(void **state)
{
    (void)state;
    struct verifying verifying;
    fault_loop(&(struct fault_case){setup, run_open, check_open, teardown, 0}, &verifying);
    fault_loop(&(struct fault_case){setup_checked, run_holes, check_holes, teardown, 0},
               &verifying);
    fault_loop(&(struct fault_case){setup_judge, run_judge, check_judge, teardown, 0}, &verifying);
}

/* The report itself. */

static void setup_report(void *arg)
{
    struct verifying *verifying = arg;
    setup(arg);
    verifying->agent.store = blx_store_agent(&store_state.test.store, "web1");
}

static int run_add(void *arg, struct blx_error *err)
{
    struct verifying *verifying = arg;
    char path[PATH_MAX];
    (void)err;
    test_path(&store_state.test, path, "agents/web1/a file");
    for (int i = 0; i < 3; i++)
        if (blx_verify_report_add(&verifying->report, verifying->agent.store, "vda", path) == NULL)
            return -ENOMEM;
    return 0;
}

static void check_add(void *arg, int rc)
{
    const struct blx_verify_report *report = &((struct verifying *)arg)->report;
    assert_int_equal(report->damage_count == 3, rc == 0);
    for (size_t i = 0; i < report->damage_count; i++)
        assert_string_equal(report->damages[i].file, "agents/web1/a file");
}

static int run_hurts(void *arg, struct blx_error *err)
{
    struct verifying *verifying = arg;
    int rc = 0;
    (void)err;
    for (blx_timestamp i = 1; rc == 0 && i <= 3; i++)
        rc = blx_damage_hurts(&verifying->damage, i);
    return rc;
}

static void check_hurts(void *arg, int rc)
{
    const struct blx_damage *damage = &((struct verifying *)arg)->damage;
    assert_true(rc == 0 || rc == -ENOMEM);
    assert_int_equal(damage->checkpoint_count == 3, rc == 0);
    for (size_t i = 0; i < damage->checkpoint_count; i++)
        assert_int_equal(damage->checkpoints[i], i + 1);
}

static void a_report_keeps_what_it_has(void **state)
{
    (void)state;
    struct verifying verifying;
    fault_loop(&(struct fault_case){setup_report, run_add, check_add, teardown, 1}, &verifying);
    fault_loop(&(struct fault_case){setup_report, run_hurts, check_hurts, teardown, 1}, &verifying);
}

/* The first frame of the first checkpoint: of its blocks both checkpoints have some. */
static void wipe_frame(void)
{
    static const uint8_t zeros[BLX_FRAME_MAX_BYTES];
    char dir[PATH_MAX], path[PATH_MAX];
    struct blx_segment_reader *reader = NULL;
    test_path(&store_state.test, dir, "agents/web1/volumes/vda");
    assert_int_equal(blx_segment_reader_open(dir, 1, &reader, NULL), 0);
    const struct blx_index_entry entry = blx_segment_reader_index(reader)->entries[0];
    blx_segment_reader_close(reader);
    assert_int_equal(blx_segment_path(dir, 1, path, NULL), 0);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, zeros, entry.frame_bytes, (off_t)entry.frame_offset),
                     entry.frame_bytes);
    close(fd);
}

static int make_store(void **state)
{
    (void)state;
    sys_use_fast();
    store_state_init(&store_state);
    wipe_frame();
    return 0;
}

static int remove_store(void **state)
{
    (void)state;
    store_state_done(&store_state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_damage_hurts_whom_it_hurts_or_is_an_error),
        cmocka_unit_test(a_report_keeps_what_it_has),
    };
    return cmocka_run_group_tests(tests, make_store, remove_store);
}
