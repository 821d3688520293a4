/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "dispatcher/overview.h"
#include "fake_agent.h"
#include "store/receive/agent_writer_private.h"
#include "store/archive.h"
#include "store/pause.h"
#include "wire/protection.h"

static const blx_timestamp noon = 20261122120000;

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

static void pause_agent(struct fake_site *site, const char *agent_id, bool paused)
{
    struct blx_error err = {0};
    int rc = paused ? blx_pause_begin(blx_store_agent(&site->store, agent_id), noon, &err)
                    : blx_pause_end(blx_store_agent(&site->store, agent_id), &err);
    if (rc < 0)
        fail_msg("%s", err.message);
    dispatcher_registry_order_policy(&site->dispatcher.registry, agent_id);
}

/* An agent that knows POLICY, up to and with the first one. */
static struct fake_agent *greet(struct fake_site *site, const char *agent_id,
                                struct blx_policy_message *policy)
{
    struct fake_agent *agent = fake_agent_connect(site, agent_id, NULL);
    struct blx_message hello = {.type = BLX_MESSAGE_HELLO,
                                .hello = {.version_min = 1,
                                          .version_max = 1,
                                          .features = BLX_FEATURE_POLICY | 1,
                                          .volume_count = 1,
                                          .software = "fake 1"}};
    snprintf(hello.hello.agent_id, sizeof(hello.hello.agent_id), "%s", agent_id);
    fake_agent_send(agent, &hello);
    agent->welcome = fake_agent_expect(agent, BLX_MESSAGE_WELCOME).welcome;
    assert_int_equal(agent->welcome.features, BLX_FEATURE_POLICY);
    *policy = fake_agent_expect(agent, BLX_MESSAGE_POLICY).policy;
    return agent;
}

static void agent_is_told_its_policy_and_each_change_of_it(void **state)
{
    struct fake_site *site = *state;
    struct blx_policy_message policy;
    fake_site_put_policy(
        site, "agents: \"web1\"\nsync-freq: \"7s\"\nbandwidth-limit: \"2M\"\nexclude: \"sdb\"\n");
    struct fake_agent *agent = greet(site, "web1", &policy);
    assert_int_equal(agent->welcome.sync_freq_ms, 7000);
    assert_int_equal(policy.sync_freq_ms, 7000);
    assert_string_equal(policy.bandwidth_limit, "2M");
    assert_int_equal(policy.exclude_bytes, 4);
    assert_string_equal(policy.exclude, "sdb");
    assert_false(policy.paused);
    /* A change within the handshake is told after it: an agent expects VOLUME_STATE there. */
    fake_site_put_policy(site, NULL);
    fake_agent_announce(agent);
    fake_agent_begin(agent, BLX_PASS_FULL);
    policy = fake_agent_expect(agent, BLX_MESSAGE_POLICY).policy;
    assert_int_equal(policy.sync_freq_ms, 60000);
    assert_int_equal(policy.exclude_bytes, 0);
    fake_agent_close(agent);
}

static void paused_agent_is_asked_for_nothing(void **state)
{
    struct fake_site *site = *state;
    struct blx_policy_message policy;
    struct dispatcher_registry_waiter waiter, late = {.event_fd = -1};
    struct fake_agent *agent = greet(site, "web1", &policy);
    fake_agent_announce(agent);
    fake_site_ask(site, "web1", &waiter); /* its volumes have not begun: it waits */
    pause_agent(site, "web1", true);
    assert_true(fake_agent_expect(agent, BLX_MESSAGE_POLICY).policy.paused);
    struct blx_control_done done = fake_site_outcome(site, &waiter);
    assert_false(done.ok);
    assert_non_null(strstr(done.text, "paused"));
    fake_agent_begin(agent, BLX_PASS_FULL);
    assert_int_equal(dispatcher_registry_ask(&site->dispatcher.registry, "web1", &late, NULL),
                     -EBUSY);
    pause_agent(site, "web1", false);
    assert_false(fake_agent_expect(agent, BLX_MESSAGE_POLICY).policy.paused);
    fake_site_ask(site, "web1", &waiter);
    fake_agent_write(agent, 0, 1, 0x11);
    fake_agent_checkpoint(agent);
    assert_true(fake_site_outcome(site, &waiter).ok);
    fake_agent_close(agent);
}

static void frames_of_a_paused_agent_are_refused(void **state)
{
    struct fake_site *site = *state;
    struct blx_policy_message policy;
    struct fake_agent *agent = greet(site, "web1", &policy);
    fake_agent_announce(agent);
    fake_agent_begin(agent, BLX_PASS_FULL);
    pause_agent(site, "web1", true);
    assert_true(fake_agent_expect(agent, BLX_MESSAGE_POLICY).policy.paused);
    /* It was on its way. */
    fake_agent_write(agent, 0, 1, 0x11);
    fake_agent_wait_durable(agent, 1);
    usleep(2 * FAKE_PAUSE_MS * 1000);
    fake_agent_write(agent, 1, 1, 0x22);
    fake_agent_expect_error(agent, "is paused, and sends frames all the same");
    fake_agent_close(agent);
    pause_agent(site, "web1", false);
    agent = greet(site, "web1", &policy);
    assert_false(policy.paused);
    fake_agent_announce(agent);
    fake_agent_begin(agent, BLX_PASS_FULL);
    fake_agent_write(agent, 0, 1, 0x33);
    fake_agent_wait_durable(agent, agent->seq);
    fake_agent_close(agent);
}

static void older_agent_that_cannot_be_told_is_turned_away_while_paused(void **state)
{
    struct fake_site *site = *state;
    struct fake_agent *agent = fake_agent_online(site, "web1");
    pause_agent(site, "web1", true);
    fake_agent_expect_error(agent, "too old");
    fake_agent_close(agent);
    agent = fake_agent_connect(site, "web1", NULL);
    fake_agent_hello(agent, "web1");
    fake_agent_expect(agent, BLX_MESSAGE_WELCOME);
    fake_agent_expect_error(agent, "resume it");
    fake_agent_close(agent);
    pause_agent(site, "web1", false);
    agent = fake_agent_online(site, "web1");
    fake_agent_close(agent);
}

static void agent_may_hang_up_after_its_policy(void **state)
{
    struct fake_site *site = *state;
    struct blx_policy_message policy;
    struct fake_agent *agent = greet(site, "web1", &policy);
    fake_agent_send(agent, &(struct blx_message){.type = BLX_MESSAGE_GOODBYE});
    fake_agent_close(agent);
    agent = greet(site, "web1", &policy);
    fake_agent_announce(agent);
    fake_agent_close(agent);
}

static void archived_agent_is_refused_until_that_is_undone(void **state)
{
    struct fake_site *site = *state;
    struct blx_agent_store web1 = blx_store_agent(&site->store, "web1");
    struct fake_agent *agent = fake_agent_online(site, "web1");
    fake_agent_write(agent, 0, 1, 0x11);
    fake_agent_wait_durable(agent, 1);
    assert_int_equal(blx_archive_begin(web1, noon, NULL), 0);
    dispatcher_registry_order_policy(&site->dispatcher.registry, "web1");
    fake_agent_expect_error(agent, "the agent 'web1' is archived on the dispatcher");
    fake_agent_close(agent);
    agent = fake_agent_connect(site, "web1", NULL);
    fake_agent_hello(agent, "web1");
    fake_agent_expect_error(agent, "archive --undo --agent=web1");
    fake_agent_close(agent);
    assert_int_equal(blx_archive_end(web1, NULL), 0);
    agent = fake_agent_online(site, "web1");
    fake_agent_close(agent);
}

/* What `status` says of web1. */
static enum blx_reason judge(struct fake_site *site)
{
    struct dispatcher_overview overview;
    struct blx_judgement judgement = {0};
    assert_int_equal(dispatcher_overview_take(&site->dispatcher, &overview, NULL), 0);
    for (size_t i = 0; i < overview.agent_count; i++)
        if (strcmp(overview.agents[i].agent_id, "web1") == 0)
            blx_protection_examine(&overview.agents[i], blx_clock_realtime_ns(), &judgement);
    dispatcher_overview_done(&overview);
    return judgement.reason;
}

static void expect_plain_refused(struct fake_site *site)
{
    struct fake_agent *agent = fake_agent_connect(site, "web1", NULL);
    fake_agent_hello(agent, "web1");
    fake_agent_expect_error(agent, "demands encryption");
    fake_agent_close(agent);
}

static struct fake_agent *encrypted_online(struct fake_site *site, const struct blx_volume_key *key)
{
    struct fake_agent *agent = fake_agent_connect(site, "web1", NULL);
    agent->key = key;
    fake_agent_greet(agent, "web1");
    fake_agent_begin(agent, BLX_PASS_FULL);
    fake_agent_write(agent, 0, 1, 0x11);
    fake_agent_wait_durable(agent, 1);
    return agent;
}

static void data_in_the_clear_is_refused_as_long_as_encryption_is_required(void **state)
{
    struct fake_site *site = *state;
    const struct blx_key key = {.secret = {1}, .id = {{1}}};
    struct blx_volume_key derived;
    assert_int_equal(blx_volume_key_derive(&key, "web1", "vda", &derived, NULL), 0);
    struct fake_agent *agent = fake_agent_online(site, "web1");
    fake_agent_write(agent, 0, 1, 0x11);
    fake_agent_wait_durable(agent, 1);
    fake_site_put_policy(site, "agents: \"web1\"\nencryption: \"required\"\n");
    fake_agent_expect_error(agent, "the policy of the agent 'web1' on the dispatcher demands");
    fake_agent_close(agent);
    expect_plain_refused(site);
    assert_int_equal(judge(site), BLX_REASON_UNENCRYPTED);

    agent = encrypted_online(site, &derived);
    assert_int_not_equal(judge(site), BLX_REASON_UNENCRYPTED);
    fake_site_put_policy(site, "agents: \"web*\"\nencryption: \"required\"\n");
    fake_agent_write(agent, 1, 1, 0x22);
    fake_agent_wait_durable(agent, 2);
    fake_agent_close(agent);

    /* It agrees on encryption, and then names no key. */
    agent = fake_agent_connect(site, "web1", NULL);
    agent->features = BLX_FEATURE_ENCRYPTION;
    fake_agent_hello(agent, "web1");
    fake_agent_expect(agent, BLX_MESSAGE_WELCOME);
    fake_agent_send(agent, &(struct blx_message){.type = BLX_MESSAGE_VOLUME,
                                                 .volume = {.block_shift = 12,
                                                            .size_bytes = FAKE_VOLUME_BYTES,
                                                            .generation = agent->generation,
                                                            .name = "vda",
                                                            .device = "/dev/vda"}});
    fake_agent_expect_error(agent, "demands encryption");
    fake_agent_close(agent);
    assert_int_equal(judge(site), BLX_REASON_UNENCRYPTED);

    fake_site_put_policy(site, NULL);
    assert_int_not_equal(judge(site), BLX_REASON_UNENCRYPTED); /* and it has not come back yet */
    agent = fake_agent_online(site, "web1");
    fake_agent_write(agent, 0, 1, 0x11);
    fake_agent_wait_durable(agent, 1);
    assert_int_not_equal(judge(site), BLX_REASON_UNENCRYPTED);
    fake_agent_close(agent);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(agent_is_told_its_policy_and_each_change_of_it),
        TEST(paused_agent_is_asked_for_nothing),
        TEST(frames_of_a_paused_agent_are_refused),
        TEST(older_agent_that_cannot_be_told_is_turned_away_while_paused),
        TEST(agent_may_hang_up_after_its_policy),
        TEST(archived_agent_is_refused_until_that_is_undone),
        TEST(data_in_the_clear_is_refused_as_long_as_encryption_is_required),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
