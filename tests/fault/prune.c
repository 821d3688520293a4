/* SPDX-License-Identifier: Apache-2.0 */
/* lib/store's removals: a prune, its plan, and pins. The next call does what failed, and the
 * checkpoints that stay restore. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loop.h"
#include "store/view/info.h"
#include "store/checkpoint/pin.h"
#include "store/checkpoint/beside_private.h"
#include "store/checkpoint/tested_codec_private.h"
#include "store/audit.h"
#include "store/prune/brake.h"
#include "store/prune/prune.h"
#include "store/prune/retention.h"
#include "store/reserve.h"
#include "store/prune/rewrite.h"
#include "store_state.h"
#include "sys.h"

struct outputs {
    struct store_state state;
    struct blx_retention_plan plan;
    struct blx_prune_report report;
    struct blx_rewrite_report rewritten;
    struct blx_info info;
    blx_timestamp *pins;
    size_t pin_count;
    struct blx_prune_mark mark;
    size_t lines;
    bool pinned;
    struct blx_tested tested;
};

static void make(void *arg)
{
    struct outputs *out = arg;
    memset(out, 0, sizeof(*out));
    store_state_init(&out->state);
}

static void remove_all(void *arg)
{
    store_state_done(&((struct outputs *)arg)->state);
}

static int run_prune(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    struct blx_prune_request request = {.checkpoints = out->state.checkpoints, .count = 1};
    return blx_prune(blx_store_agent(&out->state.test.store, "web1"), &request, &out->report, err);
}

static void check_prune(void *arg, int rc)
{
    struct outputs *out = arg;
    struct blx_error err = {0};
    blx_timestamp *all = NULL;
    size_t count = 0;
    if (rc < 0)
        test_ok(run_prune(arg, &err), &err);
    test_ok(blx_manifest_list(blx_store_agent(&out->state.test.store, "web1"), 0, UINT64_MAX, &all,
                              &count, &err),
            &err);
    assert_int_equal(count, 1);
    assert_int_equal(all[0], out->state.checkpoints[1]);
    free(all);
    test_restores_to(&out->state.test, out->state.checkpoints[1], "vda", out->state.images[1],
                     STATE_BYTES);
}

/* A store of which a prune left something to be rewritten. */
static void make_pruned(void *arg)
{
    make(arg);
    assert_int_equal(run_prune(arg, NULL), 0);
}

static int run_rewrite(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    const struct blx_rewrite_request request = {0};
    return blx_rewrite(blx_store_agent(&out->state.test.store, "web1"), &request, &out->rewritten,
                       err);
}

static void check_rewrite(void *arg, int rc)
{
    struct outputs *out = arg;
    struct blx_error err = {0};
    bool failed = rc < 0 || out->rewritten.damaged > 0; /* a frame that could not be read */
    if (failed)
        test_ok(run_rewrite(arg, &err), &err);
    assert_true(out->rewritten.replaced > 0 || rc < 0);
    check_prune(arg, 0);
}

static int run_plan(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    const struct blx_retention rules = {.keep[BLX_KEEP_LAST] = 1};
    int rc = blx_retention_plan_make(blx_store_agent(&out->state.test.store, "web1"), &rules, 0,
                                     &out->plan, err);
    if (rc < 0)
        blx_retention_plan_done(&out->plan);
    return rc;
}

static void check_plan(void *arg, int rc)
{
    struct outputs *out = arg;
    assert_int_equal(out->plan.doomed_count, rc < 0 ? 0 : 1);
    if (rc == 0)
        assert_int_equal(out->plan.doomed[0], out->state.checkpoints[0]);
    blx_retention_plan_done(&out->plan);
}

static int run_mark_write(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    const struct blx_prune_mark mark = {.rules = 7, .pruned_ns = 8};
    return blx_prune_mark_write(blx_store_agent(&out->state.test.store, "web1"), &mark, err);
}

static int run_mark_read(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_prune_mark_read(blx_store_agent(&out->state.test.store, "web1"), &out->mark, err);
}

static void make_marked(void *arg)
{
    make(arg);
    assert_int_equal(run_mark_write(arg, NULL), 0);
}

/* The old mark, here none, or the whole new one. */
static void check_mark(void *arg, int rc)
{
    struct outputs *out = arg;
    struct blx_error err = {0};
    test_ok(run_mark_read(arg, &err), &err);
    assert_true(out->mark.rules == 7 || (out->mark.rules == 0 && rc < 0));
}

static void check_mark_read(void *arg, int rc)
{
    struct outputs *out = arg;
    assert_int_equal(out->mark.rules, rc < 0 ? 0 : 7);
}

static int run_reserve(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_reserve_make(&out->state.test.store, err);
}

static void check_reserve(void *arg, int rc)
{
    struct blx_error err = {0};
    if (rc < 0)
        test_ok(run_reserve(arg, &err), &err);
    check_prune(arg, -1);
}

static int run_audit(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    const struct blx_audit_entry entry = {.event = "pin", .agent = "web1"};
    return blx_audit_append(out->state.test.dir, &entry, err);
}

static int count_line(void *arg, const struct blx_audit_line *line, struct blx_error *err)
{
    (void)err;
    *(size_t *)arg += line->fault == BLX_AUDIT_BROKEN ? 1000 : line->fault == BLX_AUDIT_GOOD;
    return 0;
}

static int run_audit_each(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    out->lines = 0;
    return blx_audit_each(out->state.test.dir, count_line, &out->lines, err);
}

/* The next call appends what failed, after a line that may be torn; the chain is whole. */
static void check_audit(void *arg, int rc)
{
    struct outputs *out = arg;
    struct blx_error err = {0};
    if (rc < 0)
        test_ok(run_audit(arg, &err), &err);
    test_ok(run_audit_each(arg, &err), &err);
    assert_true(out->lines >= 1 && out->lines <= 2);
}

static void make_audited(void *arg)
{
    make(arg);
    assert_int_equal(run_audit(arg, NULL), 0);
}

static void check_audit_each(void *arg, int rc)
{
    struct outputs *out = arg;
    assert_true(rc < 0 || out->lines == 1);
}

static int run_pin(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_pin_write(blx_store_agent(&out->state.test.store, "web1"), out->state.checkpoints[0],
                         BLX_PIN_ON, err);
}

static int run_unpin(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_pin_write(blx_store_agent(&out->state.test.store, "web1"), out->state.checkpoints[0],
                         BLX_PIN_OFF, err);
}

static void make_pinned(void *arg)
{
    make(arg);
    assert_int_equal(run_pin(arg, NULL), 0);
}

static void check_pinned(void *arg, bool wanted)
{
    struct outputs *out = arg;
    struct blx_error err = {0};
    test_ok(blx_pin_read(blx_store_agent(&out->state.test.store, "web1"), out->state.checkpoints[0],
                         &out->pinned, &err),
            &err);
    assert_int_equal(out->pinned, wanted);
}

static void check_pin(void *arg, int rc)
{
    struct blx_error err = {0};
    if (rc < 0)
        test_ok(run_pin(arg, &err), &err);
    check_pinned(arg, true);
}

static void check_unpin(void *arg, int rc)
{
    struct blx_error err = {0};
    if (rc < 0)
        test_ok(run_unpin(arg, &err), &err);
    check_pinned(arg, false);
}

static int run_list(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_pin_list(blx_store_agent(&out->state.test.store, "web1"), &out->pins,
                        &out->pin_count, err);
}

static void check_list(void *arg, int rc)
{
    struct outputs *out = arg;
    assert_int_equal(out->pin_count, rc < 0 ? 0 : 1);
    if (rc == 0)
        assert_int_equal(out->pins[0], out->state.checkpoints[0]);
    free(out->pins);
}

static struct blx_agent_store web1(const struct outputs *out)
{
    return blx_store_agent(&out->state.test.store, "web1");
}

static int run_test_write(void *arg, struct blx_error *err)
{
    const struct outputs *out = arg;
    const struct blx_tested tested = {.checkpoint = out->state.checkpoints[0],
                                      .level = BLX_TEST_LEVEL_BOOT,
                                      .results = {[BLX_TEST_BOOT] = BLX_TEST_GOOD}};
    return blx_tested_write(web1(out), &tested, err);
}

static void make_tested(void *arg)
{
    make(arg);
    assert_int_equal(run_test_write(arg, NULL), 0);
}

static void check_test_write(void *arg, int rc)
{
    struct outputs *out = arg;
    struct blx_error err = {0};
    if (rc < 0)
        test_ok(run_test_write(arg, &err), &err);
    test_ok(blx_tested_read(web1(out), out->state.checkpoints[0], &out->tested, &err), &err);
    assert_true(blx_tested_is_good(&out->tested));
}

static int run_test_read(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_tested_read(web1(out), out->state.checkpoints[0], &out->tested, err);
}

static int run_find_proven(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_tested_find_proven(web1(out), &out->tested, err);
}

static int run_find_newest(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_tested_find_newest(web1(out), &out->tested, err);
}

static void check_test_read(void *arg, int rc)
{
    const struct outputs *out = arg;
    assert_int_equal(blx_tested_is_good(&out->tested), rc == 0);
}

static int run_test_list(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_tested_list(web1(out), &out->pins, &out->pin_count, err);
}

static int run_beside_list(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_beside_list(web1(out), ".tested", &out->pins, &out->pin_count, err);
}

static const struct blx_tested failed = {.begun_realtime_ns = UINT64_C(1795380960000000000)};

static int run_note_told(void *arg, struct blx_error *err)
{
    return blx_tested_note_told(web1(arg), &failed, err);
}

static void check_note_told(void *arg, int rc)
{
    struct blx_tested next = failed;
    next.begun_realtime_ns += UINT64_C(1000000000);
    if (rc == 0)
        assert_true(blx_tested_is_told(web1(arg), &failed));
    assert_false(blx_tested_is_told(web1(arg), &next));
}

static int run_test_remove(void *arg, struct blx_error *err)
{
    const struct outputs *out = arg;
    int rc = blx_beside_remove(web1(out), out->state.checkpoints[1], ".tested", err);
    return rc == 0 ? blx_tested_remove_locked(web1(out), out->state.checkpoints[0], err) : rc;
}

static void check_test_remove(void *arg, int rc)
{
    struct outputs *out = arg;
    assert_int_equal(blx_tested_read(web1(out), out->state.checkpoints[0], &out->tested, NULL),
                     rc < 0 ? 0 : -ENOENT);
}

static int run_info(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
    int rc = blx_manifest_read(blx_store_agent(&out->state.test.store, "web1"),
                               out->state.checkpoints[0], &manifest, err);
    return rc < 0 ? rc
                  : blx_info_read(blx_store_agent(&out->state.test.store, "web1"), &manifest,
                                  &manifest.volumes[0], &out->info, err);
}

static void check_info(void *arg, int rc)
{
    const struct outputs *out = arg;
    assert_int_equal(out->info.chain_length, rc < 0 ? 0 : 1);
    assert_int_equal(out->info.removable, rc == 0);
}

static struct outputs outputs;

static void what_a_checkpoint_takes_is_told_whole_or_not_at_all(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){make, run_info, check_info, remove_all, 0}, &outputs);
}

static void pins_are_listed_whole_or_not_at_all(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){make_pinned, run_list, check_list, remove_all, 0}, &outputs);
}

static void a_prune_that_failed_is_done_by_the_next_one(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){make, run_prune, check_prune, remove_all, 0}, &outputs);
}

static void a_rewrite_that_failed_is_done_by_the_next_one(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){make_pruned, run_rewrite, check_rewrite, remove_all, 0},
               &outputs);
}

static void a_plan_is_whole_or_empty(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){make, run_plan, check_plan, remove_all, 0}, &outputs);
}

static void records_of_tests_are_whole_or_not_there(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){make, run_test_write, check_test_write, remove_all, 0},
               &outputs);
    fault_loop(&(struct fault_case){make_tested, run_test_read, check_test_read, remove_all, 0},
               &outputs);
    fault_loop(&(struct fault_case){make_tested, run_find_proven, check_test_read, remove_all, 0},
               &outputs);
    fault_loop(&(struct fault_case){make_tested, run_find_newest, check_test_read, remove_all, 0},
               &outputs);
    fault_loop(&(struct fault_case){make_tested, run_note_told, check_note_told, remove_all, 0},
               &outputs);
    fault_loop(&(struct fault_case){make_tested, run_test_list, check_list, remove_all, 0},
               &outputs);
    fault_loop(&(struct fault_case){make_tested, run_beside_list, check_list, remove_all, 0},
               &outputs);
    fault_loop(&(struct fault_case){make_tested, run_test_remove, check_test_remove, remove_all, 0},
               &outputs);
}

static void pins_are_set_and_taken_off(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){make, run_pin, check_pin, remove_all, 0}, &outputs);
    fault_loop(&(struct fault_case){make_pinned, run_unpin, check_unpin, remove_all, 0}, &outputs);
}

static void a_mark_is_the_old_one_or_the_new_one(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){make, run_mark_write, check_mark, remove_all, 0}, &outputs);
    fault_loop(&(struct fault_case){make_marked, run_mark_read, check_mark_read, remove_all, 0},
               &outputs);
}

static void a_reserve_is_made_by_the_next_try(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){make, run_reserve, check_reserve, remove_all, 0}, &outputs);
}

static void a_line_of_the_audit_log_is_appended_by_the_next_try(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){make, run_audit, check_audit, remove_all, 0}, &outputs);
    fault_loop(&(struct fault_case){make_audited, run_audit_each, check_audit_each, remove_all, 0},
               &outputs);
}

int main(void)
{
    sys_use_fast();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prune_that_failed_is_done_by_the_next_one),
        cmocka_unit_test(a_rewrite_that_failed_is_done_by_the_next_one),
        cmocka_unit_test(a_plan_is_whole_or_empty),
        cmocka_unit_test(records_of_tests_are_whole_or_not_there),
        cmocka_unit_test(pins_are_set_and_taken_off),
        cmocka_unit_test(a_mark_is_the_old_one_or_the_new_one),
        cmocka_unit_test(a_reserve_is_made_by_the_next_try),
        cmocka_unit_test(a_line_of_the_audit_log_is_appended_by_the_next_try),
        cmocka_unit_test(pins_are_listed_whole_or_not_at_all),
        cmocka_unit_test(what_a_checkpoint_takes_is_told_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
