/* SPDX-License-Identifier: Apache-2.0 */
/* The dispatchers of a data directory: a call that failed leaves no name taken and no list. */
#include "store/member.h"

#include <stdlib.h>
#include <string.h>

#include "loop.h"
#include "store/destination.h"
#include "store_state.h"
#include "sys.h"

struct meeting {
    struct store_state state;
    struct blx_member member;
    struct blx_member_list list;
    struct blx_control_agent agent;
    struct blx_member_report report;
    char to[BLX_NAME_BYTES];
};

static struct meeting meeting;

static const struct blx_store *store(void)
{
    return &meeting.state.test.store;
}

static void setup(void *arg)
{
    (void)arg;
    memset(&meeting, 0, sizeof(meeting));
    store_state_init(&meeting.state);
    meeting.member.lock_fd = -1;
    strcpy(meeting.agent.agent_id, "web1");
    meeting.report =
        (struct blx_member_report){.host = {.name = "x", .role = BLX_HOST_ALONE, .listen = ":8080"},
                                   .has_dispatcher = true,
                                   .dispatcher = {.uptime_ms = 1},
                                   .agents = &meeting.agent,
                                   .agent_count = 1};
}

static void setup_entered(void *arg)
{
    setup(arg);
    assert_int_equal(blx_member_enter(store(), &meeting.member, NULL), 0);
}

static void setup_told(void *arg)
{
    setup_entered(arg);
    assert_int_equal(blx_member_tell(store(), &meeting.member, &meeting.report, NULL), 0);
}

static void teardown(void *arg)
{
    (void)arg;
    blx_member_list_done(&meeting.list);
    blx_member_leave(store(), &meeting.member);
    store_state_done(&meeting.state);
}

static int run_enter(void *arg, struct blx_error *err)
{
    (void)arg;
    return blx_member_enter(store(), &meeting.member, err);
}

static void check_enter(void *arg, int rc)
{
    (void)arg;
    assert_int_equal(rc == 0, meeting.member.lock_fd >= 0);
    if (rc < 0)
        assert_int_equal(blx_member_enter(store(), &meeting.member, NULL), 0);
    char host[BLX_NAME_BYTES];
    blx_name_of_host(host);
    assert_string_equal(meeting.member.name, host);
}

static int run_tell(void *arg, struct blx_error *err)
{
    (void)arg;
    return blx_member_tell(store(), &meeting.member, &meeting.report, err);
}

static void check_tell(void *arg, int rc)
{
    (void)arg;
    if (rc < 0)
        assert_int_equal(blx_member_tell(store(), &meeting.member, &meeting.report, NULL), 0);
    assert_int_equal(blx_member_list_read(store(), &meeting.list, NULL), 0);
    assert_int_equal(meeting.list.count, 1);
    assert_string_equal(meeting.list.reports[0].agents[0].agent_id, "web1");
}

static int run_list(void *arg, struct blx_error *err)
{
    (void)arg;
    return blx_member_list_read(store(), &meeting.list, err);
}

/* One whose file cannot be read is left out. */
static void check_list(void *arg, int rc)
{
    (void)arg;
    assert_true(meeting.list.count <= (rc == 0 ? 1 : 0));
}

static int run_parse(void *arg, struct blx_error *err)
{
    uint8_t bytes[3 * BLX_MESSAGE_ENCODED_BYTES];
    size_t used = 0, length;
    struct blx_message messages[] = {
        {.type = BLX_MESSAGE_CONTROL_HOST, .control_host = meeting.report.host},
        {.type = BLX_MESSAGE_CONTROL_AGENT, .control_agent = meeting.agent}};
    struct blx_member_report report;
    (void)arg;
    for (size_t i = 0; i < 2; i++, used += length)
        assert_int_equal(
            blx_message_encode(&messages[i], bytes + used, sizeof(bytes) - used, &length), 0);
    int rc = blx_member_parse(bytes, used, &report, err);
    if (rc == 0)
        free(report.agents);
    return rc;
}

static void check_nothing(void *arg, int rc)
{
    (void)arg;
    (void)rc;
    store_state_check(&meeting.state);
}

static int run_destination(void *arg, struct blx_error *err)
{
    const struct blx_agent_store agent = blx_store_agent(store(), "web1");
    (void)arg;
    int rc = blx_destination_set(agent, "backup2", err);
    if (rc == 0)
        rc = blx_destination_look(agent, meeting.to, err);
    return rc < 0 ? rc : blx_destination_set(agent, NULL, err);
}

/* Failed or not, it is one of the two. */
static void check_destination(void *arg, int rc)
{
    const struct blx_agent_store agent = blx_store_agent(store(), "web1");
    (void)arg;
    int found = blx_destination_look(agent, meeting.to, NULL);
    assert_true(found == 0 || (rc < 0 && found == 1 && strcmp(meeting.to, "backup2") == 0));
    assert_int_equal(blx_destination_set(agent, NULL, NULL), 0);
    store_state_check(&meeting.state);
}

static void member_that_failed_leaves_nothing(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){setup, run_enter, check_enter, teardown, 0}, NULL);
    fault_loop(&(struct fault_case){setup_entered, run_tell, check_tell, teardown, 0}, NULL);
    fault_loop(&(struct fault_case){setup_told, run_list, check_list, teardown, 0}, NULL);
    fault_loop(&(struct fault_case){setup, run_parse, check_nothing, teardown, 0}, NULL);
}

static void destination_is_there_or_not(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){setup, run_destination, check_destination, teardown, 0}, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(member_that_failed_leaves_nothing),
        cmocka_unit_test(destination_is_there_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
