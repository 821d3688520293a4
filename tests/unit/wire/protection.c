/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/protection.h"

enum { SECOND_NS = 1000000000 };
static const uint64_t cut_s = 1795380960; /* when the agent's checkpoint was taken */

/* Connected, a period of 3 minutes, its checkpoint just taken. */
static struct blx_control_agent good_agent(void)
{
    return (struct blx_control_agent){
        .agent_id = "web1",
        .status = {.state = BLX_AGENT_LIVE},
        .last_checkpoint = blx_timestamp_from_unix((int64_t)cut_s),
        .last_time = blx_timestamp_from_unix((int64_t)cut_s),
        .last_consistency = BLX_CONSISTENCY_FILESYSTEM,
        .sync_freq_ms = 180000,
    };
}

static enum blx_protection judge_after(const struct blx_control_agent *agent, uint64_t seconds)
{
    return blx_protection_judge(agent, (cut_s + seconds) * SECOND_NS);
}

static const char *explain_after(const struct blx_control_agent *agent, uint64_t seconds)
{
    static char text[BLX_TEXT_BYTES];
    return blx_protection_explain(agent, (cut_s + seconds) * SECOND_NS, text);
}

static void checkpoint_may_be_two_periods_and_a_minute_old(void **state)
{
    (void)state;
    struct blx_control_agent agent = good_agent();
    assert_int_equal(judge_after(&agent, 0), BLX_PROTECTED);
    assert_int_equal(judge_after(&agent, 420), BLX_PROTECTED);
    assert_string_equal(explain_after(&agent, 420), "");
    assert_int_equal(judge_after(&agent, 421), BLX_PROTECTION_LATE);
    assert_string_equal(explain_after(&agent, 421), "one is due every 3 m 0 s");
    snprintf(agent.failure, sizeof(agent.failure), "no room");
    assert_string_equal(explain_after(&agent, 421), "one is due every 3 m 0 s: no room");
    agent.sync_freq_ms = 0;
    assert_int_equal(judge_after(&agent, 100000), BLX_PROTECTED);
}

static void clock_that_went_back_makes_nothing_late(void **state)
{
    (void)state;
    struct blx_control_agent agent = good_agent();
    assert_int_equal(blx_protection_judge(&agent, (cut_s - 5000) * SECOND_NS), BLX_PROTECTED);
    assert_int_equal(blx_protection_age_s(&agent, (cut_s - 5000) * SECOND_NS), 0);
}

static void agent_is_lost_after_a_minute_whatever_it_has(void **state)
{
    (void)state;
    struct blx_control_agent agent = good_agent();
    agent.status.state = BLX_AGENT_OFFLINE;
    agent.away_ms = 60000;
    assert_int_equal(judge_after(&agent, 10), BLX_PROTECTED);
    assert_string_equal(explain_after(&agent, 10), "not connected for 1 m 0 s");
    agent.away_ms = 60001;
    assert_int_equal(judge_after(&agent, 10), BLX_PROTECTION_LOST);
    agent.last_checkpoint = 0;
    assert_non_null(strstr(explain_after(&agent, 10), "never had a checkpoint"));
    agent.away_ms = BLX_AWAY_UNKNOWN;
    assert_string_equal(explain_after(&agent, 10), "no dispatcher runs");
}

static void agent_with_a_short_period_is_lost_sooner(void **state)
{
    (void)state;
    static const struct {
        uint64_t sync_freq_ms, away_ms;
    } cases[] = {{2000, 5000},    {20000, 10000},  {119000, 59500},
                 {120000, 60000}, {180000, 60000}, {0, 60000}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct blx_control_agent agent = good_agent();
        agent.status.state = BLX_AGENT_OFFLINE;
        agent.sync_freq_ms = cases[i].sync_freq_ms;
        agent.away_ms = cases[i].away_ms;
        assert_int_equal(judge_after(&agent, 10), BLX_PROTECTED);
        agent.away_ms++;
        assert_int_equal(judge_after(&agent, 10), BLX_PROTECTION_LOST);
    }
}

static void pause_hides_everything_else_and_says_since_when(void **state)
{
    (void)state;
    struct blx_control_agent agent = good_agent();
    agent.paused_since = 20261122203559;
    assert_int_equal(judge_after(&agent, 0), BLX_PROTECTION_PAUSED);
    assert_int_equal(judge_after(&agent, 100000), BLX_PROTECTION_PAUSED); /* not late */
    assert_string_equal(explain_after(&agent, 0), "paused since 2026-11-22 21:35:59 +01:00");
    agent.status.state = BLX_AGENT_OFFLINE;
    agent.away_ms = 3600000;
    assert_int_equal(judge_after(&agent, 0), BLX_PROTECTION_PAUSED); /* not lost */
    assert_non_null(strstr(explain_after(&agent, 0), "+01:00, not connected for 1 h"));
    agent.last_checkpoint = 0;
    assert_int_equal(judge_after(&agent, 0), BLX_PROTECTION_PAUSED);
    assert_string_equal(blx_protection_name(BLX_PROTECTION_PAUSED), "paused");
}

static void revocation_is_no_loss(void **state)
{
    (void)state;
    struct blx_control_agent agent = good_agent();
    agent.revoked = true;
    agent.status.state = BLX_AGENT_OFFLINE;
    agent.away_ms = 3600000;
    assert_int_equal(judge_after(&agent, 100000), BLX_PROTECTION_REVOKED);
    agent.paused_since = 20261122203559; /* a resume would not end it */
    assert_int_equal(judge_after(&agent, 100000), BLX_PROTECTION_REVOKED);
    assert_non_null(strstr(blx_reason_way_out(BLX_REASON_REVOKED), "enroll"));
    assert_string_equal(blx_protection_name(BLX_PROTECTION_REVOKED), "revoked");
}

static void data_in_the_clear_that_a_policy_forbids_is_not_stored(void **state)
{
    (void)state;
    struct blx_control_agent agent = good_agent();
    struct blx_judgement judgement;
    agent.unencrypted = true;
    agent.away_ms = 2 * BLX_PROTECTION_AWAY_MS; /* because it is refused */
    agent.status.state = BLX_AGENT_OFFLINE;
    blx_protection_examine(&agent, cut_s * SECOND_NS, &judgement);
    assert_int_equal(judgement.protection, BLX_PROTECTION_NOT_STORED);
    assert_int_equal(judgement.reason, BLX_REASON_UNENCRYPTED);
    agent.paused_since = agent.last_time;
    assert_int_equal(judge_after(&agent, 0), BLX_PROTECTION_PAUSED);
}

static void archive_hides_all_and_is_no_alarm(void **state)
{
    (void)state;
    struct blx_control_agent agent = good_agent();
    agent.archived_since = 20261122203559;
    agent.revoked = true;
    agent.paused_since = 20261122203559;
    agent.status.state = BLX_AGENT_OFFLINE;
    agent.away_ms = 3600000;
    assert_int_equal(judge_after(&agent, 100000), BLX_PROTECTION_ARCHIVED);
    assert_string_equal(explain_after(&agent, 0), "archived since 2026-11-22 21:35:59 +01:00");
    assert_string_equal(blx_protection_name(BLX_PROTECTION_ARCHIVED), "archived");
}

static void first_sync_is_not_protected_yet(void **state)
{
    (void)state;
    struct blx_control_agent agent = good_agent();
    agent.last_checkpoint = 0;
    agent.status.state = BLX_AGENT_FULL_SYNC;
    snprintf(agent.status.reason, sizeof(agent.status.reason), "nothing is stored yet");
    assert_int_equal(judge_after(&agent, 100000), BLX_PROTECTION_FIRST_SYNC);
    assert_string_equal(explain_after(&agent, 10), "nothing is stored yet");
}

/* The others are in its checkpoints, so only its flags tell, or the note of an agent of before. */
static void a_disk_in_its_first_pass_is_not_protected_yet(void **state)
{
    (void)state;
    struct blx_control_agent agent = good_agent();
    agent.status.state = BLX_AGENT_FULL_SYNC;
    snprintf(agent.status.reason, sizeof(agent.status.reason), "'/dev/sdb' at 51 %%: first sync");
    snprintf(agent.note, sizeof(agent.note), "without '/dev/sdb', whose first pass is at 51 %%");
    assert_int_equal(judge_after(&agent, 10), BLX_PROTECTION_FIRST_SYNC);
    assert_string_equal(explain_after(&agent, 10), "'/dev/sdb' at 51 %: first sync");
    snprintf(agent.note, sizeof(agent.note), "without '/dev/sdb', whose comparison is at 51 %%");
    assert_int_equal(judge_after(&agent, 10), BLX_PROTECTED);
    agent.cut_flags = BLX_CUT_FLAGS_TOLD | BLX_CUT_LACKS_FIRST_PASS;
    assert_int_equal(judge_after(&agent, 10), BLX_PROTECTION_FIRST_SYNC);
    /* A path decides nothing: the flags are what counts. */
    agent.cut_flags = BLX_CUT_FLAGS_TOLD;
    snprintf(agent.note, sizeof(agent.note), "'/mnt/x', whose first pass is at ' is busy");
    assert_int_equal(judge_after(&agent, 10), BLX_PROTECTED);
}

static void a_certificate_that_ends_soon_is_told(void **state)
{
    (void)state;
    enum { DAY_S = 86400 };
    const uint64_t now_s = 1795000000, now_ns = now_s * 1000000000;
    char text[BLX_TEXT_BYTES];
    static const struct {
        int64_t days;
        enum blx_end agents, cas;
        const char *text;
    } cases[] = {
        {400, BLX_END_FAR, BLX_END_FAR, "ends in 400 days"},
        {364, BLX_END_FAR, BLX_END_SEEN, "ends in 364 days"},
        {30, BLX_END_FAR, BLX_END_SEEN, "ends in 30 days"},
        {29, BLX_END_NEAR, BLX_END_NEAR, "ends in 29 days"},
        {1, BLX_END_NEAR, BLX_END_NEAR, "ends in 1 day"},
        {0, BLX_END_NEAR, BLX_END_NEAR, "ends in 0 days"},
        {-1, BLX_END_PASSED, BLX_END_PASSED, "has ended"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t end_s = now_s + (uint64_t)(cases[i].days * DAY_S);
        assert_int_equal(blx_end_judge(end_s, BLX_CERT_WARNING_DAYS, now_ns), cases[i].agents);
        assert_int_equal(blx_end_judge(end_s, BLX_CA_WARNING_DAYS, now_ns), cases[i].cas);
        assert_string_equal(blx_end_explain(end_s, now_ns, text), cases[i].text);
    }
    assert_int_equal(blx_end_judge(0, BLX_CA_WARNING_DAYS, now_ns), BLX_END_FAR);
    struct blx_control_agent agent = good_agent();
    struct blx_judgement judgement;
    uint64_t last_s = (uint64_t)blx_timestamp_to_unix(agent.last_time);
    agent.cert_ends_s = last_s + 12 * DAY_S + 60;
    blx_protection_examine(&agent, (last_s + 10) * 1000000000, &judgement);
    assert_int_equal(judgement.protection, BLX_PROTECTED);
    assert_string_equal(blx_reason_name(judgement.reason), "certificate-ends");
    assert_string_equal(judgement.text, "its certificate ends in 12 days");
}

static void a_hook_that_failed_is_told(void **state)
{
    (void)state;
    struct blx_control_agent agent = good_agent();
    agent.cut_flags = BLX_CUT_FLAGS_TOLD | BLX_CUT_PRE_FREEZE_FAILED;
    assert_int_equal(judge_after(&agent, 10), BLX_PROTECTED);
    assert_string_equal(explain_after(&agent, 10),
                        "the pre-freeze command failed for the last checkpoint");
    agent.cut_flags |= BLX_CUT_POST_THAW_FAILED;
    assert_string_equal(explain_after(&agent, 10),
                        "the pre-freeze and the post-thaw command failed for the last checkpoint");
    agent.cut_flags = BLX_CUT_FLAGS_TOLD;
    assert_string_equal(explain_after(&agent, 10), "");
}

static void crash_protects_and_none_does_not(void **state)
{
    (void)state;
    struct blx_control_agent agent = good_agent();
    snprintf(agent.note, sizeof(agent.note), "vfat cannot be frozen");
    agent.last_consistency = BLX_CONSISTENCY_CRASH;
    assert_int_equal(judge_after(&agent, 1), BLX_PROTECTED);
    assert_string_equal(explain_after(&agent, 1), "vfat cannot be frozen");
    agent.last_consistency = BLX_CONSISTENCY_NONE;
    assert_int_equal(judge_after(&agent, 1), BLX_PROTECTION_INCONSISTENT);
}

static void checkpoint_that_lacks_blocks_does_not_protect(void **state)
{
    (void)state;
    struct blx_control_agent agent = good_agent();
    agent.last_unreadable_bytes = 8192;
    assert_int_equal(judge_after(&agent, 1), BLX_PROTECTION_DAMAGED);
    assert_string_equal(explain_after(&agent, 1),
                        "8.0 KiB of its disks could not be read for the last checkpoint");
    assert_int_equal(judge_after(&agent, 421), BLX_PROTECTION_LATE);
    agent.last_consistency = BLX_CONSISTENCY_NONE;
    assert_int_equal(judge_after(&agent, 1), BLX_PROTECTION_INCONSISTENT);
}

static void disk_that_cannot_be_read_now_does_not_protect(void **state)
{
    (void)state;
    struct blx_control_agent agent = good_agent();
    agent.status.unreadable_bytes = 1 << 30;
    assert_int_equal(judge_after(&agent, 1), BLX_PROTECTION_DAMAGED);
    assert_string_equal(explain_after(&agent, 1), "1.0 GiB of its disks cannot be read");
    snprintf(agent.status.reason, sizeof(agent.status.reason), "'/dev/vdb' is not protected");
    assert_string_equal(explain_after(&agent, 1), "'/dev/vdb' is not protected");
}

static struct blx_judgement examine_after(const struct blx_control_agent *agent, uint64_t seconds)
{
    struct blx_judgement judgement;
    blx_protection_examine(agent, (cut_s + seconds) * SECOND_NS, &judgement);
    return judgement;
}

static void trouble_of_the_store_is_not_the_agents_absence(void **state)
{
    (void)state;
    struct blx_control_agent agent = good_agent();
    char line[BLX_JUDGEMENT_TEXT_BYTES];
    agent.trouble = (struct blx_trouble){
        .kind = BLX_TROUBLE_FULL, .since = 20261122203559, .text = "the store '/data' is full"};
    agent.status.state = BLX_AGENT_OFFLINE;
    agent.away_ms = 99;
    struct blx_judgement now = examine_after(&agent, 10);
    assert_int_equal(now.protection, BLX_PROTECTION_NOT_STORED);
    assert_int_equal(now.reason, BLX_REASON_STORE_FULL);
    assert_string_equal(now.object, "the store");
    assert_int_equal(now.since, 20261122203559);
    assert_string_equal(now.text, "the store '/data' is full");
    assert_string_equal(blx_judgement_format(&now, line),
                        "store-full: the store '/data' is full: make room, or `blxrep dispatcher "
                        "prune`");
    agent.away_ms = 3600000; /* then both are told */
    now = examine_after(&agent, 10);
    assert_int_equal(now.protection, BLX_PROTECTION_NOT_STORED);
    assert_string_equal(now.text, "the store '/data' is full; not connected for 1 h 0 m");
    agent.status.state = BLX_AGENT_LIVE;
    agent.trouble.kind = BLX_TROUBLE_DAMAGED;
    assert_int_equal(judge_after(&agent, 10), BLX_PROTECTION_DAMAGED);
    assert_int_equal(examine_after(&agent, 10).reason, BLX_REASON_STORE_DAMAGED);
}

static void agent_that_never_joined_is_not_protected(void **state)
{
    (void)state;
    struct blx_control_agent agent = {.agent_id = "web2",
                                      .enrolled_since = 20261122203559,
                                      .away_ms = 3600000,
                                      .sync_freq_ms = 180000};
    struct blx_judgement now = examine_after(&agent, 10);
    assert_int_equal(now.protection, BLX_PROTECTION_NEVER_JOINED);
    assert_int_equal(now.reason, BLX_REASON_NEVER_JOINED);
    assert_int_equal(now.since, 20261122203559);
    assert_string_equal(now.object, "the agent 'web2'");
    assert_string_equal(blx_protection_name(now.protection), "never-joined");
}

static void first_sync_without_progress_is_late(void **state)
{
    (void)state;
    struct blx_control_agent agent = good_agent();
    agent.last_checkpoint = 0;
    agent.status.state = BLX_AGENT_FULL_SYNC;
    agent.stalled_ms = BLX_PROTECTION_STALLED_MS;
    assert_int_equal(judge_after(&agent, 10), BLX_PROTECTION_FIRST_SYNC);
    agent.stalled_ms++;
    struct blx_judgement now = examine_after(&agent, 10);
    assert_int_equal(now.protection, BLX_PROTECTION_LATE);
    assert_int_equal(now.reason, BLX_REASON_FIRST_SYNC_STALLED);
    assert_string_equal(now.text, "the first sync has made no progress for 15 m 0 s");
    assert_int_equal(now.since, blx_timestamp_from_unix((int64_t)cut_s + 10 - 900));
}

/* A reason without an entry would send somebody to a page that does not know it. */
static void reason_has_its_entry_in_the_manual(void **state)
{
    (void)state;
    static char page[64 * 1024];
    FILE *file = fopen(BLX_RECOVERY_PAGE, "r");
    assert_non_null(file);
    size_t bytes = fread(page, 1, sizeof(page) - 1, file);
    fclose(file);
    page[bytes] = '\0';
    for (int reason = BLX_REASON_NONE + 1; reason < BLX_REASONS; reason++) {
        char entry[128];
        const char *name = blx_reason_name((enum blx_reason)reason);
        assert_true(name[0] != '\0');
        int at = snprintf(entry, sizeof(entry), ".TP\n.B ");
        for (; *name != '\0'; name++)
            at += snprintf(entry + at, sizeof(entry) - (size_t)at, *name == '-' ? "\\-" : "%c",
                           *name);
        snprintf(entry + at, sizeof(entry) - (size_t)at, "\n");
        if (strstr(page, entry) == NULL)
            fail_msg("%s has no entry '%s'", BLX_RECOVERY_PAGE,
                     blx_reason_name((enum blx_reason)reason));
    }
}

static void agent_judges_itself_as_the_dispatcher_does(void **state)
{
    (void)state;
    const uint64_t now_ns = (cut_s + 10) * SECOND_NS;
    struct blx_control_self self = {.knows_checkpoint = true};
    struct blx_control_agent agent = good_agent();
    struct blx_judgement judgement;
    blx_protection_examine_self(&self, &agent, now_ns, &judgement);
    assert_int_equal(judgement.protection, BLX_PROTECTED);
    agent.last_consistency = BLX_CONSISTENCY_NONE;
    blx_protection_examine_self(&self, &agent, now_ns, &judgement);
    assert_int_equal(judgement.protection, BLX_PROTECTION_INCONSISTENT);
    self.knows_checkpoint = false; /* nobody has told it of that checkpoint */
    blx_protection_examine_self(&self, &agent, now_ns, &judgement);
    assert_int_equal(judgement.protection, BLX_PROTECTED);
    agent.status.state = BLX_AGENT_OFFLINE;
    agent.away_ms = 61000;
    snprintf(agent.failure, sizeof(agent.failure), "connection refused");
    blx_protection_examine_self(&self, &agent, now_ns, &judgement);
    assert_int_equal(judgement.protection, BLX_PROTECTION_LOST);
    assert_int_equal(judgement.reason, BLX_REASON_NO_SESSION);
    assert_string_equal(judgement.text, "connection refused; not connected for 1 m 1 s");
}

static void disk_is_nearly_full_below_a_twentieth(void **state)
{
    (void)state;
    struct blx_control_dispatcher dispatcher = {.data_bytes = 1000, .data_free_bytes = 50};
    assert_false(blx_data_is_nearly_full(&dispatcher));
    dispatcher.data_free_bytes = 49;
    assert_true(blx_data_is_nearly_full(&dispatcher));
    dispatcher = (struct blx_control_dispatcher){.data_bytes = 0};
    assert_false(blx_data_is_nearly_full(&dispatcher));
}

static void few_inodes_are_a_full_disk_and_told(void **state)
{
    (void)state;
    char text[BLX_TEXT_BYTES];
    struct blx_control_dispatcher dispatcher = {.data_bytes = 1000, .data_free_bytes = 500};
    assert_string_equal(blx_data_explain(&dispatcher, BLX_DATA_INODES_ALWAYS, text),
                        "500 B of 1000 B free"); /* inodes are made as needed */
    dispatcher.data_inodes = 1000;
    dispatcher.data_free_inodes = 50;
    assert_false(blx_data_is_nearly_full(&dispatcher));
    assert_string_equal(blx_data_explain(&dispatcher, BLX_DATA_INODES_IF_FEW, text),
                        "500 B of 1000 B free");
    dispatcher.data_free_inodes = 49;
    assert_true(blx_data_is_nearly_full(&dispatcher));
    assert_string_equal(blx_data_explain(&dispatcher, BLX_DATA_INODES_IF_FEW, text),
                        "500 B of 1000 B free, and 49 of 1000 inodes");
}

static void certificates_end_soon_within_thirty_days(void **state)
{
    (void)state;
    enum { DAY_S = 24 * 3600, NOW_S = 2000000000 };
    const uint64_t now_ns = UINT64_C(1000000000) * NOW_S;
    struct blx_control_dispatcher dispatcher = {.cert_ends_s = 0, .ca_ends_s = 0};
    assert_false(blx_certificates_are_ending(&dispatcher, now_ns));
    dispatcher.cert_ends_s = NOW_S + 30 * DAY_S;
    dispatcher.ca_ends_s = NOW_S + 31 * DAY_S;
    assert_false(blx_certificates_are_ending(&dispatcher, now_ns));
    dispatcher.cert_ends_s -= 1;
    assert_true(blx_certificates_are_ending(&dispatcher, now_ns));
    dispatcher.cert_ends_s = 0;
    dispatcher.ca_ends_s = NOW_S - 1;
    assert_true(blx_certificates_are_ending(&dispatcher, now_ns));
    assert_int_equal(blx_days_until(NOW_S - 1, now_ns), -1);
}

int main(void)
{
    setenv("TZ", "CET-1", 1); /* texts have local times */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checkpoint_may_be_two_periods_and_a_minute_old),
        cmocka_unit_test(clock_that_went_back_makes_nothing_late),
        cmocka_unit_test(agent_is_lost_after_a_minute_whatever_it_has),
        cmocka_unit_test(agent_with_a_short_period_is_lost_sooner),
        cmocka_unit_test(pause_hides_everything_else_and_says_since_when),
        cmocka_unit_test(revocation_is_no_loss),
        cmocka_unit_test(data_in_the_clear_that_a_policy_forbids_is_not_stored),
        cmocka_unit_test(archive_hides_all_and_is_no_alarm),
        cmocka_unit_test(first_sync_is_not_protected_yet),
        cmocka_unit_test(a_disk_in_its_first_pass_is_not_protected_yet),
        cmocka_unit_test(a_hook_that_failed_is_told),
        cmocka_unit_test(a_certificate_that_ends_soon_is_told),
        cmocka_unit_test(crash_protects_and_none_does_not),
        cmocka_unit_test(checkpoint_that_lacks_blocks_does_not_protect),
        cmocka_unit_test(disk_that_cannot_be_read_now_does_not_protect),
        cmocka_unit_test(trouble_of_the_store_is_not_the_agents_absence),
        cmocka_unit_test(agent_that_never_joined_is_not_protected),
        cmocka_unit_test(first_sync_without_progress_is_late),
        cmocka_unit_test(agent_judges_itself_as_the_dispatcher_does),
        cmocka_unit_test(reason_has_its_entry_in_the_manual),
        cmocka_unit_test(disk_is_nearly_full_below_a_twentieth),
        cmocka_unit_test(certificates_end_soon_within_thirty_days),
        cmocka_unit_test(few_inodes_are_a_full_disk_and_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
