/* SPDX-License-Identifier: Apache-2.0 */
/* What a dispatcher knows of the others on its data directory, and what it leaves to them. */
#include "dispatcher/neighbours.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dispatcher/overview.h"
#include "fake_site.h"
#include "store/destination.h"

struct fixture {
    struct fake_site *site;
    struct blx_member own, other;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    f->site = fake_site_start(1000);
    assert_int_equal(blx_member_enter(&f->site->store, &f->own, NULL), 0);
    assert_int_equal(blx_member_enter(&f->site->store, &f->other, NULL), 0);
    f->site->store.shared = true;
    assert_int_equal(blx_agent_store_enroll(blx_store_agent(&f->site->store, "web1"), NULL), 0);
    assert_int_equal(blx_agent_store_enroll(blx_store_agent(&f->site->store, "web10"), NULL), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(dispatcher_neighbours_stop(f->site->dispatcher.neighbours, UINT64_MAX), 0);
    f->site->dispatcher.neighbours = NULL;
    blx_member_leave(&f->site->store, &f->own);
    blx_member_leave(&f->site->store, &f->other);
    fake_site_stop(f->site);
    free(f);
    return 0;
}

/* The other one, which has web10, began in the year 2000, or will in 2100. */
static void tell(struct fixture *f, enum blx_host_role role, blx_timestamp since)
{
    struct blx_control_agent agent = {
        .agent_id = "web10", .status.state = BLX_AGENT_LIVE, .peer = "192.0.2.1:1"};
    struct blx_member_report report = {
        .host = {.role = role, .since = since, .listen = ":1"}, .agents = &agent, .agent_count = 1};
    strcpy(report.host.name, f->other.name);
    assert_int_equal(blx_member_tell(&f->site->store, &f->other, &report, NULL), 0);
}

static void start(struct fixture *f)
{
    assert_int_equal(dispatcher_neighbours_start(&f->site->dispatcher, &f->own, ":8080",
                                                 &f->site->dispatcher.neighbours, NULL),
                     0);
}

static bool finds(struct fixture *f, const char *agent_id)
{
    struct blx_control_agent told;
    char host[BLX_NAME_BYTES] = "";
    bool found = dispatcher_neighbours_find(f->site->dispatcher.neighbours, agent_id, &told, host);
    if (found)
        assert_string_equal(host, f->other.name);
    return found;
}

static void one_that_shares_has_its_agents(void **state)
{
    struct fixture *f = *state;
    size_t count = 0;
    tell(f, BLX_HOST_SHARES, 20000101000000);
    start(f);
    assert_true(finds(f, "web10"));
    assert_false(finds(f, "web1"));
    struct blx_control_host *hosts =
        dispatcher_neighbours_list(f->site->dispatcher.neighbours, &count);
    assert_int_equal(count, 2);
    assert_string_equal(hosts[0].name, f->own.name);
    assert_int_equal(hosts[0].role, BLX_HOST_SHARES);
    assert_string_equal(hosts[1].name, f->other.name);
    free(hosts);

    /* It shows them all, and raises alarms for none: the other one began first. */
    struct dispatcher_overview overview;
    assert_int_equal(dispatcher_overview_take(&f->site->dispatcher, &overview, NULL), 0);
    assert_int_equal(overview.agent_count, 2);
    assert_string_equal(overview.agents[1].agent_id, "web10");
    assert_string_equal(overview.agents[1].peer, "192.0.2.1:1");
    assert_string_equal(overview.places[1].host, f->other.name);
    assert_string_equal(overview.places[0].host, "");
    assert_false(dispatcher_overview_is_here(&overview, 0));
    assert_false(dispatcher_overview_is_here(&overview, 1));
    assert_false(dispatcher_neighbours_is_keeper(f->site->dispatcher.neighbours));
    dispatcher_overview_keep_own(&f->site->dispatcher, &overview);
    assert_int_equal(overview.agent_count, 0);
    dispatcher_overview_done(&overview);
}

static void keeper_answers_for_agents_that_nobody_has(void **state)
{
    struct fixture *f = *state;
    struct dispatcher_overview overview;
    tell(f, BLX_HOST_SHARES, 21000101000000);
    start(f);
    assert_true(dispatcher_neighbours_is_keeper(f->site->dispatcher.neighbours));
    assert_int_equal(dispatcher_overview_take(&f->site->dispatcher, &overview, NULL), 0);
    dispatcher_overview_keep_own(&f->site->dispatcher, &overview);
    assert_int_equal(overview.agent_count, 1);
    assert_string_equal(overview.agents[0].agent_id, "web1");
    dispatcher_overview_done(&overview);
    assert_true(dispatcher_neighbours_is_keeper(NULL));
}

static void standby_has_no_agents_and_is_no_keeper(void **state)
{
    struct fixture *f = *state;
    tell(f, BLX_HOST_STANDBY, 20000101000000);
    start(f);
    assert_false(finds(f, "web10"));
    assert_true(dispatcher_neighbours_is_keeper(f->site->dispatcher.neighbours));
}

static void agent_that_was_moved_is_refused_while_the_other_one_runs(void **state)
{
    struct fixture *f = *state;
    struct dispatcher *dispatcher = &f->site->dispatcher;
    const struct blx_agent_store agent = blx_store_agent(&f->site->store, "web1");
    char to[BLX_NAME_BYTES];
    struct blx_error err = {0};
    tell(f, BLX_HOST_SHARES, 20000101000000);
    start(f);
    assert_int_equal(dispatcher_neighbours_check_destination(dispatcher, "web1", to, &err), 0);
    assert_int_equal(blx_destination_set(agent, f->own.name, NULL), 0);
    assert_int_equal(dispatcher_neighbours_check_destination(dispatcher, "web1", to, &err), 0);
    assert_int_equal(blx_destination_set(agent, "nobody", NULL), 0);
    assert_int_equal(dispatcher_neighbours_check_destination(dispatcher, "web1", to, &err), 0);
    assert_int_equal(blx_destination_set(agent, f->other.name, NULL), 0);
    assert_int_equal(dispatcher_neighbours_check_destination(dispatcher, "web1", to, &err), -EBUSY);
    assert_string_equal(to, f->other.name);
    assert_non_null(strstr(err.message, "(listening on ':1')"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(one_that_shares_has_its_agents),
        TEST(keeper_answers_for_agents_that_nobody_has),
        TEST(standby_has_no_agents_and_is_no_keeper),
        TEST(agent_that_was_moved_is_refused_while_the_other_one_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
