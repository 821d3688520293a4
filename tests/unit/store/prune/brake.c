/* SPDX-License-Identifier: Apache-2.0 */
/* The brake: what is usual goes, what is far more waits, and new rules are announced. */
#include "fixture.h"

#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "store/prune/brake.h"

#define MINUTE UINT64_C(60000000000)

static const struct blx_retention rules = {.keep = {[BLX_KEEP_LAST] = 20}};

/* Rules that were carried out at `pruned`, and a prune `later_ns` afterwards. */
static enum blx_brake judge(size_t checkpoints, size_t doomed, uint64_t later_ns)
{
    struct blx_prune_mark mark = {.rules = blx_brake_rules(&rules), .pruned_ns = 1000 * MINUTE};
    const struct blx_brake_case prune = {
        .retention = &rules,
        .checkpoints = checkpoints,
        .doomed = doomed,
        .sync_freq_ms = 60000,
        .now_ns = mark.pruned_ns + later_ns,
        .grace_ns = 10 * MINUTE,
    };
    enum blx_brake brake = blx_brake_judge(&prune, &mark);
    assert_int_equal(mark.pruned_ns, brake == BLX_BRAKE_FREE ? prune.now_ns : 1000 * MINUTE);
    return brake;
}

static void what_sync_freq_explains_goes(void **state)
{
    (void)state;
    assert_int_equal(judge(21, 1, MINUTE), BLX_BRAKE_FREE);
    assert_int_equal(judge(200, BLX_BRAKE_FLOOR, 0), BLX_BRAKE_FREE);
    assert_int_equal(judge(200, 90, 60 * MINUTE), BLX_BRAKE_FREE);
}

static void far_more_than_usual_is_held(void **state)
{
    (void)state;
    assert_int_equal(judge(200, 90, MINUTE), BLX_BRAKE_HELD);
    assert_int_equal(judge(200, BLX_BRAKE_FLOOR + 1, 0), BLX_BRAKE_HELD);
    /* A clock that leaps explains any number, but not that most of them go. */
    assert_int_equal(judge(200, 101, 365 * 1440 * MINUTE), BLX_BRAKE_HELD);
    assert_int_equal(judge(200, 100, 365 * 1440 * MINUTE), BLX_BRAKE_FREE);
}

static void new_rules_are_announced_first(void **state)
{
    (void)state;
    struct blx_prune_mark mark = {0};
    struct blx_brake_case prune = {.retention = &rules,
                                   .checkpoints = 400,
                                   .doomed = 0,
                                   .sync_freq_ms = 60000,
                                   .now_ns = 1000 * MINUTE,
                                   .grace_ns = 10 * MINUTE};
    /* Nothing goes, so nothing needs to be told. */
    assert_int_equal(blx_brake_judge(&prune, &mark), BLX_BRAKE_FREE);
    const struct blx_retention fewer = {.keep = {[BLX_KEEP_LAST] = 2}};
    prune.retention = &fewer;
    prune.doomed = 398;
    assert_int_equal(blx_brake_judge(&prune, &mark), BLX_BRAKE_ANNOUNCED);
    assert_int_equal(mark.not_before_ns, 1010 * MINUTE);
    prune.now_ns = 1009 * MINUTE;
    assert_int_equal(blx_brake_judge(&prune, &mark), BLX_BRAKE_ANNOUNCED);
    prune.now_ns = 1010 * MINUTE;
    assert_int_equal(blx_brake_judge(&prune, &mark), BLX_BRAKE_FREE);
    assert_int_equal(mark.not_before_ns, 0);
    /* The same flood again is none of the new rules. */
    prune.now_ns = 1011 * MINUTE;
    assert_int_equal(blx_brake_judge(&prune, &mark), BLX_BRAKE_HELD);
}

static void a_mark_is_read_back_and_a_damaged_one_is_none(void **state)
{
    (void)state;
    struct test_store test;
    struct blx_error err = {0};
    char path[PATH_MAX];
    const struct blx_prune_mark mark = {
        .rules = 0xfedcba9876543210, .pruned_ns = 7, .not_before_ns = 9};
    struct blx_prune_mark read = {.rules = 1};
    test_store_init(&test);
    test_path(&test, path, "agents");
    assert_int_equal(mkdir(path, 0755), 0);
    test_path(&test, path, "agents/web1");
    assert_int_equal(mkdir(path, 0755), 0);
    test_ok(blx_prune_mark_read(blx_store_agent(&test.store, "web1"), &read, &err), &err);
    assert_int_equal(read.rules, 0);
    test_ok(blx_prune_mark_write(blx_store_agent(&test.store, "web1"), &mark, &err), &err);
    test_ok(blx_prune_mark_read(blx_store_agent(&test.store, "web1"), &read, &err), &err);
    assert_memory_equal(&read, &mark, sizeof(mark));
    test_path(&test, path, "agents/web1/pruned");
    test_ok(blx_file_replace(path, "nonsense", 8, 0644, &err), &err);
    test_ok(blx_prune_mark_read(blx_store_agent(&test.store, "web1"), &read, &err), &err);
    assert_int_equal(read.rules, 0);
    test_store_done(&test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_sync_freq_explains_goes),
        cmocka_unit_test(far_more_than_usual_is_held),
        cmocka_unit_test(new_rules_are_announced_first),
        cmocka_unit_test(a_mark_is_read_back_and_a_damaged_one_is_none),
    };
    return cmocka_run_group_tests_name("store/prune/brake", tests, NULL, NULL);
}
