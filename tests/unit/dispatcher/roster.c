/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "dispatcher/overview.h"
#include "fake_agent.h"

static int setup(void **state)
{
    *state = fake_site_start(DISPATCHER_HEARTBEAT_MS);
    return 0;
}

static int teardown(void **state)
{
    fake_site_stop(*state);
    return 0;
}

static blx_timestamp checkpoint(struct fake_site *site, struct fake_agent *agent)
{
    struct dispatcher_registry_waiter waiter;
    fake_site_ask(site, "web1", &waiter);
    blx_timestamp timestamp = fake_agent_checkpoint(agent);
    assert_true(fake_site_outcome(site, &waiter).ok);
    return timestamp;
}

static void fail_checkpoint(struct fake_site *site, struct fake_agent *agent)
{
    struct dispatcher_registry_waiter waiter;
    fake_site_ask(site, "web1", &waiter);
    struct blx_message message = fake_agent_expect(agent, BLX_MESSAGE_CHECKPOINT_REQUEST);
    message = (struct blx_message){
        .type = BLX_MESSAGE_CHECKPOINT_FAILED,
        .checkpoint_failed = {.request = message.checkpoint_request.request, .reason = "no room"}};
    fake_agent_send(agent, &message);
    assert_false(fake_site_outcome(site, &waiter).ok);
}

static struct blx_control_agent only_agent(struct fake_site *site)
{
    struct dispatcher_overview overview = {0};
    assert_int_equal(dispatcher_overview_take(&site->dispatcher, &overview, NULL), 0);
    assert_int_equal(overview.agent_count, 1);
    struct blx_control_agent agent = overview.agents[0];
    dispatcher_overview_done(&overview);
    return agent;
}

static void counts_outlive_the_session(void **state)
{
    struct fake_site *site = *state;
    struct fake_agent *agent = fake_agent_online(site, "web1");
    fake_agent_write(agent, 0, 8, 0x11);
    blx_timestamp timestamp = checkpoint(site, agent);
    fail_checkpoint(site, agent);
    struct blx_message status = {.type = BLX_MESSAGE_STATUS,
                                 .status = {.state = BLX_AGENT_RESCAN, .reason = "doubt"}};
    fake_agent_send(agent, &status);
    status.status.done_bytes = 1;
    fake_agent_send(agent, &status);
    fail_checkpoint(site, agent); /* its answers come after the statuses */
    struct blx_control_agent told = only_agent(site);
    assert_int_equal(told.rescans, 1);
    assert_int_equal(told.checkpoints[BLX_CONSISTENCY_FILESYSTEM], 1);
    assert_int_equal(told.failed_checkpoints, 2);
    assert_string_equal(told.failure, "no room");
    assert_string_equal(told.status.reason, "doubt");
    assert_int_equal(told.last_checkpoint, timestamp);
    assert_int_equal(told.total_freeze_ns, 20 * 1000 * 1000);
    uint64_t received = told.total_received_bytes;
    fake_agent_close(agent);

    agent = fake_agent_online(site, "web1"); /* takes over: the first one has left then */
    fake_agent_write(agent, 0, 8, 0x22);
    fake_agent_wait_durable(agent, 1);
    told = only_agent(site);
    assert_int_equal(told.sessions, 2);
    assert_int_equal(told.failed_checkpoints, 2);
    assert_true(told.total_received_bytes > received);
    assert_true(told.received_bytes < told.total_received_bytes);
    fake_agent_close(agent);
}

/* A file that cannot be read is the store's trouble, and no sign that there never was one. */
static void agent_without_a_session_tells_of_its_store(void **state)
{
    struct fake_site *site = *state;
    struct fake_agent *agent = fake_agent_online(site, "web1");
    fake_agent_write(agent, 0, 8, 0x11);
    blx_timestamp timestamp = checkpoint(site, agent);
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/agents/web1/checkpoints/%" PRIu64, site->store.data_dir,
             timestamp);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    struct dispatcher_roster fresh; /* as after a restart */
    struct blx_control_agent told;
    dispatcher_roster_init(&fresh);
    assert_int_equal(dispatcher_roster_describe(&fresh, &site->store, "web1", &told, NULL), 0);
    assert_int_equal(told.trouble.kind, BLX_TROUBLE_DAMAGED);
    assert_true(told.trouble.since != 0);
    assert_non_null(strstr(told.trouble.text, path));
    dispatcher_roster_done(&fresh);
    fake_agent_close(agent);
}

/* The store's failure is told while the agent comes back, and never as a failed checkpoint. */
static void session_that_ended_for_the_store_is_remembered(void **state)
{
    struct fake_site *site = *state;
    struct dispatcher_roster *roster = &site->dispatcher.roster;
    struct dispatcher_roster_record *record;
    struct blx_control_agent told;
    assert_int_equal(blx_agent_store_enroll(blx_store_agent(&site->store, "web1"), NULL), 0);
    assert_int_equal(dispatcher_roster_enter(roster, &site->store, "web1", &record, NULL), 0);
    dispatcher_roster_note_trouble(roster, record, -EROFS, "cannot write");
    dispatcher_roster_leave(roster, record, NULL);
    assert_int_equal(dispatcher_roster_describe(roster, &site->store, "web1", &told, NULL), 0);
    assert_int_equal(told.trouble.kind, BLX_TROUBLE_READ_ONLY);
    assert_string_equal(told.trouble.text, "cannot write");
    assert_string_equal(told.failure, "");
    record->left_ns -= 61 * UINT64_C(1000000000); /* it stays away for another reason */
    assert_int_equal(dispatcher_roster_describe(roster, &site->store, "web1", &told, NULL), 0);
    assert_int_equal(told.trouble.kind, BLX_TROUBLE_NONE);
    assert_string_equal(told.failure, "cannot write");
    dispatcher_roster_note_stored(roster, record);
    assert_int_equal(dispatcher_roster_describe(roster, &site->store, "web1", &told, NULL), 0);
    assert_string_equal(told.failure, "");
}

static void first_sync_without_progress_is_measured(void **state)
{
    struct fake_site *site = *state;
    struct dispatcher_roster *roster = &site->dispatcher.roster;
    struct dispatcher_roster_record *record;
    struct blx_control_agent told;
    struct blx_status status = {.state = BLX_AGENT_FULL_SYNC, .done_bytes = 5, .total_bytes = 9};
    assert_int_equal(dispatcher_roster_enter(roster, &site->store, "web1", &record, NULL), 0);
    dispatcher_roster_note_status(roster, record, &status);
    record->progressed_ns -= 1000 * UINT64_C(1000000000);
    status.done_bytes = 4; /* as after a new beginning */
    dispatcher_roster_note_status(roster, record, &status);
    assert_int_equal(dispatcher_roster_describe(roster, &site->store, "web1", &told, NULL), 0);
    assert_true(told.stalled_ms >= 1000000);
    dispatcher_roster_leave(roster, record, NULL);
    record->left_ns -= 500 * UINT64_C(1000000000); /* what it was away does not count */
    assert_int_equal(dispatcher_roster_enter(roster, &site->store, "web1", &record, NULL), 0);
    assert_int_equal(dispatcher_roster_describe(roster, &site->store, "web1", &told, NULL), 0);
    assert_in_range(told.stalled_ms, 400000, 600000);
    status.done_bytes = 6;
    dispatcher_roster_note_status(roster, record, &status);
    assert_int_equal(dispatcher_roster_describe(roster, &site->store, "web1", &told, NULL), 0);
    assert_in_range(told.stalled_ms, 0, 60000);
    dispatcher_roster_leave(roster, record, NULL);
}

static void enrolled_agent_is_listed_before_it_connects(void **state)
{
    struct fake_site *site = *state;
    struct blx_control_agent told;
    assert_int_equal(blx_agent_store_enroll(blx_store_agent(&site->store, "web1"), NULL), 0);
    assert_int_equal(blx_agent_store_enroll(blx_store_agent(&site->store, "web1"), NULL), 0);
    told = only_agent(site);
    assert_true(told.enrolled_since != 0);
    assert_int_equal(told.trouble.kind, BLX_TROUBLE_NONE);
    struct fake_agent *agent = fake_agent_online(site, "web1");
    told = only_agent(site);
    assert_true(told.enrolled_since == 0);
    fake_agent_close(agent);
}

static void store_that_is_replaced_is_told_since_when(void **state)
{
    struct fake_site *site = *state;
    char path[PATH_MAX], aside[PATH_MAX];
    struct dispatcher_overview overview = {0};
    assert_int_equal(blx_agent_store_enroll(blx_store_agent(&site->store, "web1"), NULL), 0);
    snprintf(path, sizeof(path), "%s/lock", site->store.data_dir);
    snprintf(aside, sizeof(aside), "%s/lock.aside", site->store.data_dir);
    assert_int_equal(only_agent(site).trouble.kind, BLX_TROUBLE_NONE);
    assert_int_equal(rename(path, aside), 0);
    assert_int_equal(only_agent(site).trouble.kind, BLX_TROUBLE_NONE); /* the rest is there */
    fclose(fopen(path, "w"));
    assert_int_equal(dispatcher_overview_take(&site->dispatcher, &overview, NULL), 0);
    assert_int_equal(overview.dispatcher.trouble.kind, BLX_TROUBLE_GONE);
    assert_true(overview.dispatcher.trouble.since != 0);
    assert_int_equal(overview.agents[0].trouble.kind, BLX_TROUBLE_GONE);
    dispatcher_overview_done(&overview);
    assert_int_equal(rename(aside, path), 0);
    assert_int_equal(only_agent(site).trouble.kind, BLX_TROUBLE_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(counts_outlive_the_session, setup, teardown),
        cmocka_unit_test_setup_teardown(agent_without_a_session_tells_of_its_store, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(session_that_ended_for_the_store_is_remembered, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(first_sync_without_progress_is_measured, setup, teardown),
        cmocka_unit_test_setup_teardown(enrolled_agent_is_listed_before_it_connects, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(store_that_is_replaced_is_told_since_when, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
