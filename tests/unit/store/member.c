/* SPDX-License-Identifier: Apache-2.0 */
/* The dispatchers of a data directory, the lock that they share, and which of them has an agent. */
#include "store/member.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "fixture.h"
#include "store/destination.h"

static struct test_store test;

static int setup(void **state)
{
    (void)state;
    test_store_init(&test);
    blx_store_close(&test.store);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_store_done(&test);
    return 0;
}

static void tell(const struct blx_member *member, enum blx_host_role role, const char *agent_id)
{
    struct blx_error err = {0};
    struct blx_control_agent agent = {.away_ms = 7};
    struct blx_member_report report = {
        .host = {.role = role, .since = 20261130100000, .told = 20261130100001, .listen = ":8080"},
        .has_dispatcher = agent_id != NULL,
        .dispatcher = {.uptime_ms = 5},
        .agents = &agent,
        .agent_count = agent_id != NULL};
    strcpy(report.host.name, member->name);
    if (agent_id != NULL)
        strcpy(agent.agent_id, agent_id);
    test_ok(blx_member_tell(&test.store, member, &report, &err), &err);
}

static void each_has_a_name_and_tells_about_its_agents(void **state)
{
    (void)state;
    struct blx_member first = {.lock_fd = -1}, second = {.lock_fd = -1};
    struct blx_member_list list = {0};
    struct blx_error err = {0};
    char host[BLX_NAME_BYTES], other[BLX_NAME_BYTES + 2];
    test_ok(blx_member_list_read(&test.store, &list, &err), &err);
    assert_int_equal(list.count, 0);
    test_ok(blx_member_enter(&test.store, &first, &err), &err);
    test_ok(blx_member_enter(&test.store, &second, &err), &err);
    blx_name_of_host(host);
    snprintf(other, sizeof(other), "%s-2", host);
    assert_string_equal(first.name, host);
    assert_string_equal(second.name, other);

    tell(&first, BLX_HOST_ALONE, "web1");
    tell(&second, BLX_HOST_STANDBY, NULL);
    test_ok(blx_member_list_read(&test.store, &list, &err), &err);
    assert_int_equal(list.count, 2);
    assert_string_equal(list.reports[0].host.name, host);
    assert_int_equal(list.reports[0].host.role, BLX_HOST_ALONE);
    assert_true(list.reports[0].has_dispatcher);
    assert_int_equal(list.reports[0].dispatcher.uptime_ms, 5);
    assert_int_equal(list.reports[0].agent_count, 1);
    assert_string_equal(list.reports[0].agents[0].agent_id, "web1");
    assert_int_equal(list.reports[0].agents[0].away_ms, 7);
    assert_int_equal(list.reports[1].host.role, BLX_HOST_STANDBY);
    assert_false(list.reports[1].has_dispatcher);
    blx_member_list_done(&list);

    /* One that was killed has left its state, and no lock. */
    close(first.lock_fd);
    test_ok(blx_member_list_read(&test.store, &list, &err), &err);
    assert_int_equal(list.count, 1);
    assert_string_equal(list.reports[0].host.name, other);
    blx_member_list_done(&list);
    blx_member_leave(&test.store, &second);
    blx_member_leave(&test.store, &second);
    test_ok(blx_member_list_read(&test.store, &list, &err), &err);
    assert_int_equal(list.count, 0);
}

static void damaged_state_is_left_out(void **state)
{
    (void)state;
    struct blx_member member = {.lock_fd = -1};
    struct blx_member_list list = {0};
    struct blx_error err = {0};
    char path[PATH_MAX], name[BLX_NAME_BYTES + 8];
    static const char damaged[] = "no message";
    test_ok(blx_member_enter(&test.store, &member, &err), &err);
    snprintf(name, sizeof(name), "%s.state", member.name);
    test_path(&test, path, "dispatchers/%s", name);
    test_ok(blx_file_replace(path, damaged, sizeof(damaged), 0600, &err), &err);
    test_ok(blx_member_list_read(&test.store, &list, &err), &err);
    assert_int_equal(list.count, 0);
    blx_member_list_done(&list);
    struct blx_member_report report;
    assert_int_equal(blx_member_parse(NULL, 0, &report, &err), -EBADMSG);
    blx_error_clear(&err);
    tell(&member, BLX_HOST_SHARES, NULL);
    test_ok(blx_member_list_read(&test.store, &list, &err), &err);
    assert_int_equal(list.count, 1);
    blx_member_list_done(&list);
    blx_member_leave(&test.store, &member);
}

static void the_tenth_of_a_host_is_refused(void **state)
{
    (void)state;
    struct blx_member members[10];
    struct blx_error err = {0};
    for (int i = 0; i < 9; i++)
        test_ok(blx_member_enter(&test.store, &members[i], &err), &err);
    assert_int_equal(blx_member_enter(&test.store, &members[9], &err), -EBUSY);
    assert_non_null(strstr(err.message, "9 dispatchers of the host"));
    for (int i = 0; i < 9; i++)
        blx_member_leave(&test.store, &members[i]);
}

static void store_is_one_dispatchers_alone_or_shared(void **state)
{
    (void)state;
    struct blx_store alone = {.lock_fd = -1}, first = {.lock_fd = -1}, second = {.lock_fd = -1};
    struct blx_error err = {0};
    const char *dir = test.store.data_dir;
    test_ok(blx_store_open(dir, BLX_STORE_SHARE, &first, &err), &err);
    test_ok(blx_store_open(dir, BLX_STORE_SHARE, &second, &err), &err);
    assert_int_equal(blx_store_open(dir, BLX_STORE_WRITE, &alone, &err), -EBUSY);
    blx_error_clear(&err);
    assert_int_equal(blx_store_check_lock(&first), 0);
    blx_store_close(&first);
    blx_store_close(&second);
    test_ok(blx_store_open(dir, BLX_STORE_WRITE, &alone, &err), &err);
    assert_int_equal(blx_store_check_lock(&alone), 0);
    assert_int_equal(blx_store_open(dir, BLX_STORE_SHARE, &first, &err), -EBUSY);
    assert_non_null(strstr(err.message, "shared"));
    blx_store_close(&alone);
}

static void agent_has_one_writer_in_a_shared_store(void **state)
{
    (void)state;
    struct blx_store first = {.lock_fd = -1}, second = {.lock_fd = -1};
    struct blx_agent_writer *writer = NULL, *other = NULL;
    struct blx_error err = {0};
    const char *dir = test.store.data_dir;
    test_ok(blx_store_open(dir, BLX_STORE_SHARE, &first, &err), &err);
    test_ok(blx_store_open(dir, BLX_STORE_SHARE, &second, &err), &err);
    test_ok(blx_agent_writer_open_in(blx_store_agent(&first, "web1"), BLX_AGENT_FOLDER_ANY, NULL,
                                     &writer, &err),
            &err);
    assert_int_equal(blx_agent_writer_open_in(blx_store_agent(&second, "web1"),
                                              BLX_AGENT_FOLDER_ANY, NULL, &other, &err),
                     -EBUSY);
    assert_non_null(strstr(err.message, "another dispatcher"));
    blx_error_clear(&err);
    test_ok(blx_agent_writer_open_in(blx_store_agent(&second, "web2"), BLX_AGENT_FOLDER_ANY, NULL,
                                     &other, &err),
            &err);
    blx_agent_writer_close(other);
    blx_agent_writer_close(writer);
    test_ok(blx_agent_writer_open_in(blx_store_agent(&second, "web1"), BLX_AGENT_FOLDER_ANY, NULL,
                                     &writer, &err),
            &err);
    blx_agent_writer_close(writer);
    blx_store_close(&first);
    blx_store_close(&second);
}

static void destination_is_a_name_until_it_is_taken_back(void **state)
{
    (void)state;
    const struct blx_agent_store agent = blx_store_agent(&test.store, "web1");
    struct blx_error err = {0};
    char host[BLX_NAME_BYTES], path[PATH_MAX];
    test_ok(blx_agent_store_enroll(agent, &err), &err);
    assert_int_equal(blx_destination_look(agent, host, &err), 0);
    assert_string_equal(host, "");
    assert_int_equal(blx_destination_set(agent, "no/name", &err), -EINVAL);
    blx_error_clear(&err);
    test_ok(blx_destination_set(agent, "backup2", &err), &err);
    assert_int_equal(blx_destination_look(agent, host, &err), 1);
    assert_string_equal(host, "backup2");
    test_ok(blx_destination_set(agent, NULL, &err), &err);
    test_ok(blx_destination_set(agent, NULL, &err), &err);
    assert_int_equal(blx_destination_look(agent, host, &err), 0);
    test_path(&test, path, "agents/web1/dispatcher");
    test_ok(blx_file_replace(path, "../x\n", 5, 0644, &err), &err);
    assert_int_equal(blx_destination_look(agent, host, &err), 0);
    assert_string_equal(host, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(each_has_a_name_and_tells_about_its_agents),
        TEST(damaged_state_is_left_out),
        TEST(the_tenth_of_a_host_is_refused),
        TEST(store_is_one_dispatchers_alone_or_shared),
        TEST(agent_has_one_writer_in_a_shared_store),
        TEST(destination_is_a_name_until_it_is_taken_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
