/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An agent that lies about time, or whose clock is wrong, cannot talk anybody out of good history:
 * README's rules over forty honest days, and then ten minutes of lies.
 */
#include "fixture.h"

#include <stdlib.h>
#include <string.h>

#include "store/prune/retention.h"

enum { DAYS = 40, A_DAY = 3, LIES = 200, DAY_S = 86400, MONTH_S = 30 * DAY_S };

static const uint64_t first_s = 1795000000; /* 2026-11-18 */
static const struct blx_retention rules = {
    .keep = {[BLX_KEEP_LAST] = 20, [BLX_KEEP_DAILY] = 14, [BLX_KEEP_MONTHLY] = 12}};

struct site {
    struct test_store test;
    struct test_volume volume;
    struct blx_agent_writer *writer;
    blx_timestamp timestamps[DAYS * A_DAY + LIES];
    size_t count;
    uint64_t now_s; /* by the dispatcher's clock */
};

/* Takes a checkpoint whose cut lies at `agent_s` by the agent's clock. */
static void take(struct site *site, uint64_t agent_s)
{
    struct blx_error err = {0};
    test_volume_send(&site->volume, site->writer, site->count % 7, site->count + 1);
    test_ok(blx_agent_writer_sync(site->writer, NULL, NULL, &err), &err);
    struct blx_checkpoint_message cut = {
        .cut_realtime_ns = agent_s * 1000000000,
        .consistency = BLX_CONSISTENCY_FILESYSTEM,
        .volume_count = 1,
        .last_seq = {site->volume.seq},
    };
    const struct blx_commit_times times = {site->now_s * 1000000000, site->now_s * 1000000000};
    test_ok(
        blx_agent_writer_commit(site->writer, &cut, &times, &site->timestamps[site->count], &err),
        &err);
    site->count++;
}

static void live_honestly(struct site *site)
{
    struct test_volume *volumes[] = {&site->volume};
    struct blx_error err = {0};
    test_fsync_off();
    test_store_init(&site->test);
    test_volume_init(&site->volume, "sda", 8 * TEST_BLOCK_BYTES, 1);
    site->writer = test_writer_open(&site->test, volumes, 1, NULL);
    test_ok(blx_agent_writer_begin(site->writer, 0, BLX_PASS_FULL, &err), &err);
    test_volume_send_all(&site->volume, site->writer, 8);
    for (size_t i = 0; i < DAYS * A_DAY; i++) {
        site->now_s = first_s + i * (DAY_S / A_DAY);
        take(site, site->now_s);
    }
}

static void leave(struct site *site)
{
    blx_agent_writer_close(site->writer);
    test_volume_done(&site->volume);
    test_store_done(&site->test);
}

static void plan(const struct site *site, struct blx_retention_plan *plan)
{
    struct blx_error err = {0};
    const struct blx_retention held = blx_retention_with_default(&rules);
    test_ok(blx_retention_plan_make(blx_store_agent(&site->test.store, "web1"), &held,
                                    site->now_s * 1000000000, plan, &err),
            &err);
    assert_int_equal(plan->count, site->count);
}

/* What daily and monthly rules kept of the honest days before is kept still. */
static void expect_history(const struct site *site, const struct blx_retention_plan *before)
{
    BLX_CLEANUP(blx_retention_plan_done) struct blx_retention_plan after = {0};
    const uint32_t lasting =
        blx_retention_bit(BLX_KEEP_DAILY) | blx_retention_bit(BLX_KEEP_MONTHLY);
    size_t kept = 0;
    plan(site, &after);
    for (size_t i = 0; i + A_DAY < before->count; i++) { /* but for the last day, which goes on */
        kept += (before->verdicts[i] & lasting) != 0;
        if ((before->verdicts[i] & lasting) != 0)
            assert_int_not_equal(after.verdicts[i], 0);
    }
    assert_true(kept >= 13);
}

static void lies_months_apart_cost_no_day_and_no_month(void **state)
{
    (void)state;
    BLX_CLEANUP(blx_retention_plan_done) struct blx_retention_plan before = {0};
    struct site site = {0};
    live_honestly(&site);
    plan(&site, &before);
    uint64_t began_s = site.now_s;
    for (size_t i = 0; i < LIES; i++) {
        site.now_s = began_s + 3 * (i + 1);
        take(&site, began_s + i * MONTH_S);
        /* Each is named by the dispatcher's clock. */
        assert_int_equal(blx_timestamp_to_unix(site.timestamps[site.count - 1]), site.now_s);
    }
    expect_history(&site, &before);
    leave(&site);
}

static void a_clock_a_year_ahead_once_names_nothing(void **state)
{
    (void)state;
    BLX_CLEANUP(blx_retention_plan_done) struct blx_retention_plan before = {0};
    struct site site = {0};
    live_honestly(&site);
    plan(&site, &before);
    site.now_s += 180;
    take(&site, site.now_s + 365 * (uint64_t)DAY_S);
    for (size_t day = 0; day < 4; day++) {
        site.now_s += DAY_S;
        take(&site, site.now_s);
        assert_int_equal(blx_timestamp_to_unix(site.timestamps[site.count - 1]), site.now_s);
    }
    BLX_CLEANUP(blx_retention_plan_done) struct blx_retention_plan after = {0};
    plan(&site, &after);
    size_t days = 0;
    for (size_t i = 0; i < after.count; i++)
        days += (after.verdicts[i] & blx_retention_bit(BLX_KEEP_DAILY)) != 0;
    assert_int_equal(days, 14);
    leave(&site);
}

/* A store of before: the agent's clock chose one name in the next year, and names ascend. */
static void names_that_contradict_their_commit_are_judged_by_it(void **state)
{
    (void)state;
    const struct blx_manifest honest = {.timestamp = 20261129120000,
                                        .committed_realtime_ns = UINT64_C(1795953605000000000)};
    struct blx_manifest late = honest, early = honest, unknown = {0};
    late.timestamp = 20271129120000;
    early.timestamp = 20251129120000;
    assert_int_equal(blx_manifest_time(&honest), 20261129120000);
    assert_int_equal(blx_manifest_time(&late), 20261129120005);
    assert_int_equal(blx_manifest_time(&early), 20261129120005);
    assert_int_equal(blx_manifest_time(&unknown), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lies_months_apart_cost_no_day_and_no_month),
        cmocka_unit_test(a_clock_a_year_ahead_once_names_nothing),
        cmocka_unit_test(names_that_contradict_their_commit_are_judged_by_it),
    };
    return cmocka_run_group_tests_name("store/prune/liar", tests, NULL, NULL);
}
