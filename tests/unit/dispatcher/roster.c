/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(counts_outlive_the_session, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
