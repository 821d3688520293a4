/* SPDX-License-Identifier: Apache-2.0 */
/* One agent's quota stops that agent, with its reason, and nobody else; and only as long as there
 * is no room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "dispatcher/event_watch.h"
#include "dispatcher/overview.h"
#include "fake_agent.h"
#include "store/checkpoint/manifest_file.h"
#include "store/quota.h"

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

static struct blx_agent_store web1(const struct fake_site *site)
{
    return blx_store_agent(&site->store, "web1");
}

/* The kinds of the events that the state as it is leads to. */
static bool has_event(struct fake_site *site, enum blx_event_kind kind)
{
    struct dispatcher_overview overview;
    struct dispatcher_event_watch watch = {0};
    struct blx_event_list list = {0};
    bool found = false;
    assert_int_equal(dispatcher_overview_take(&site->dispatcher, &overview, NULL), 0);
    assert_int_equal(dispatcher_event_watch_look(&watch, &site->dispatcher.roster, &overview,
                                                 blx_clock_realtime_ns(), &list),
                     0);
    for (size_t i = 0; i < list.count; i++)
        found =
            found || (list.events[i].kind == kind && strcmp(list.events[i].agent_id, "web1") == 0);
    blx_event_list_done(&list);
    dispatcher_event_watch_done(&watch);
    dispatcher_overview_done(&overview);
    return found;
}

/* What `status` says of web1. */
static void explain(struct fake_site *site, char why[BLX_TEXT_BYTES])
{
    struct dispatcher_overview overview;
    why[0] = '\0';
    assert_int_equal(dispatcher_overview_take(&site->dispatcher, &overview, NULL), 0);
    for (size_t i = 0; i < overview.agent_count; i++)
        if (strcmp(overview.agents[i].agent_id, "web1") == 0)
            blx_protection_explain(&overview.agents[i], blx_clock_realtime_ns(), why);
    dispatcher_overview_done(&overview);
}

static void expect_explained(struct fake_site *site, const char *part)
{
    char why[BLX_TEXT_BYTES];
    explain(site, why);
    if (strstr(why, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", why, part);
}

static void expect_refused(struct fake_site *site, const char *part)
{
    struct fake_agent *agent = fake_agent_connect(site, "web1", NULL);
    fake_agent_hello(agent, "web1");
    fake_agent_expect_error(agent, part);
    fake_agent_close(agent);
}

static blx_timestamp checkpoint(struct fake_site *site, struct fake_agent *agent,
                                const char *agent_id)
{
    struct dispatcher_registry_waiter waiter;
    fake_site_ask(site, agent_id, &waiter);
    blx_timestamp timestamp = fake_agent_checkpoint(agent);
    assert_true(fake_site_outcome(site, &waiter).ok);
    return timestamp;
}

static void daily_bytes_hold_over_sessions_and_hurt_nobody_else(void **state)
{
    struct fake_site *site = *state;
    struct fake_agent *other = fake_agent_online(site, "web10");
    struct fake_agent *agent = fake_agent_online(site, "web1");
    fake_agent_write(agent, 0, 1, 0x11);
    fake_agent_wait_durable(agent, 1);
    struct dispatcher_overview overview;
    assert_int_equal(dispatcher_overview_take(&site->dispatcher, &overview, NULL), 0);
    uint64_t frame_bytes = overview.agents[0].total_received_bytes;
    dispatcher_overview_done(&overview);
    assert_true(frame_bytes > 0);
    char policy[128];
    snprintf(policy, sizeof(policy), "agents: \"web1\"\nquota: { bytes-a-day: %llu }\n",
             (unsigned long long)(10 * frame_bytes + 1));
    fake_site_put_policy(site, policy);
    fake_agent_close(agent);

    struct fake_agent *again = fake_agent_connect(site, "web1", NULL);
    fake_agent_greet(again, "web1");
    fake_agent_begin(again, BLX_PASS_FULL);
    for (uint64_t frame = 1; frame <= 7; frame++)
        fake_agent_write(again, frame, 1, 0x11);
    fake_agent_wait_durable(again, 7); /* 8 of 10 */
    assert_false(has_event(site, BLX_EVENT_QUOTA_NEAR));
    fake_agent_write(again, 8, 1, 0x11);
    fake_agent_wait_durable(again, 8);
    assert_true(has_event(site, BLX_EVENT_QUOTA_NEAR));
    checkpoint(site, again, "web1");
    expect_explained(site, "its quota is nearly used up: bytes-a-day: ");
    fake_agent_write(again, 9, 1, 0x11);
    fake_agent_wait_durable(again, 9); /* all 10 */
    fake_agent_write(again, 10, 1, 0x11);
    fake_agent_expect_error(again, "the quota of the agent 'web1' on the dispatcher is used up "
                                   "(bytes-a-day: ");
    fake_agent_close(again);

    snprintf(policy, sizeof(policy), "agents: \"web1\"\nquota: { bytes-a-day: %llu }\n",
             (unsigned long long)(10 * frame_bytes));
    fake_site_put_policy(site, policy);
    expect_refused(site, "bytes-a-day: ");
    assert_true(has_event(site, BLX_EVENT_QUOTA_REACHED));
    expect_explained(site, "its quota is used up: bytes-a-day: ");

    fake_agent_write(other, 0, 1, 0x11);
    checkpoint(site, other, "web10");
    fake_agent_close(other);

    fake_site_put_policy(site, NULL);
    agent = fake_agent_online(site, "web1");
    fake_agent_write(agent, 0, 1, 0x11);
    checkpoint(site, agent, "web1");
    assert_false(has_event(site, BLX_EVENT_QUOTA_REACHED));
    fake_agent_close(agent);
}

static void bytes_are_those_on_the_disk(void **state)
{
    struct fake_site *site = *state;
    struct blx_quota used = {0};
    struct fake_agent *agent = fake_agent_online(site, "web1");
    fake_agent_write(agent, 0, 1, 0x11);
    checkpoint(site, agent, "web1");
    fake_agent_close(agent);
    assert_int_equal(blx_quota_measure(web1(site), &used, NULL), 0);
    assert_true(used.of[BLX_QUOTA_BYTES] >= 512);
    assert_int_equal(used.of[BLX_QUOTA_VOLUMES], 1);
    assert_int_equal(used.of[BLX_QUOTA_CHECKPOINTS], 1);
    assert_int_equal(used.of[BLX_QUOTA_SEGMENTS], 1);
    fake_site_put_policy(site, "agents: \"web1\"\nquota: { bytes: 512 }\n");
    expect_refused(site, "(bytes: ");
    fake_site_put_policy(site, "agents: \"web1\"\nquota: { bytes: \"1G\" }\n");
    fake_agent_close(fake_agent_online(site, "web1"));
}

static void checkpoint_beyond_the_quota_waits_until_one_is_removed(void **state)
{
    struct fake_site *site = *state;
    char path[PATH_MAX];
    fake_site_put_policy(site, "agents: \"web1\"\nquota: { checkpoints: 2 }\n");
    struct fake_agent *agent = fake_agent_online(site, "web1");
    fake_agent_write(agent, 0, 1, 0x11);
    blx_timestamp first = checkpoint(site, agent, "web1");
    fake_agent_write(agent, 1, 1, 0x12);
    checkpoint(site, agent, "web1");
    struct dispatcher_registry_waiter waiter;
    fake_site_ask(site, "web1", &waiter);
    uint64_t request =
        fake_agent_expect(agent, BLX_MESSAGE_CHECKPOINT_REQUEST).checkpoint_request.request;
    fake_agent_cut(agent, request, agent->seq);
    fake_agent_expect_error(agent, "(checkpoints: 2 of 2)");
    fake_agent_close(agent);
    assert_non_null(strstr(fake_site_outcome(site, &waiter).text, "checkpoints: 2 of 2"));
    expect_refused(site, "(checkpoints: 2 of 2)");
    /* Nothing was lost of what came before, and it goes on by itself. */
    assert_int_equal(blx_manifest_path(web1(site), first, path, NULL), 0);
    assert_int_equal(unlink(path), 0);
    agent = fake_agent_online(site, "web1");
    fake_agent_write(agent, 3, 1, 0x14);
    checkpoint(site, agent, "web1");
    fake_agent_close(agent);
}

static void volume_with_another_name_is_refused(void **state)
{
    struct fake_site *site = *state;
    fake_site_put_policy(site, "agents: \"web1\"\nquota: { volumes: 1 }\n");
    struct fake_agent *agent = fake_agent_online(site, "web1");
    fake_agent_write(agent, 0, 1, 0x11);
    checkpoint(site, agent, "web1");
    fake_agent_close(agent);
    agent = fake_agent_connect(site, "web1", NULL);
    fake_agent_hello(agent, "web1");
    fake_agent_expect(agent, BLX_MESSAGE_WELCOME);
    const struct blx_message volume = {
        .type = BLX_MESSAGE_VOLUME,
        .volume = {.block_shift = 12,
                   .size_bytes = FAKE_VOLUME_BYTES,
                   .generation = agent->generation,
                   .name = "vdb",
                   .device = "/dev/vdb"},
    };
    fake_agent_send(agent, &volume);
    fake_agent_expect_error(agent, "(volumes: 2 of 1)");
    fake_agent_close(agent);
    assert_false(blx_agent_store_has_volume(web1(site), "vdb"));
    agent = fake_agent_connect(site, "web1", NULL);
    fake_agent_greet(agent, "web1");
    fake_agent_close(agent);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(daily_bytes_hold_over_sessions_and_hurt_nobody_else),
        TEST(bytes_are_those_on_the_disk),
        TEST(checkpoint_beyond_the_quota_waits_until_one_is_removed),
        TEST(volume_with_another_name_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
