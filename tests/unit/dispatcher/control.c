/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

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

static void send_checkpoint(struct blx_conn *conn, const char *agent_id)
{
    struct blx_message message = {.type = BLX_MESSAGE_CONTROL_CHECKPOINT};
    snprintf(message.control_checkpoint.agent_id, sizeof(message.control_checkpoint.agent_id), "%s",
             agent_id);
    assert_int_equal(blx_conn_send(conn, &message, NULL), 0);
}

static struct blx_control_done receive_done(struct blx_conn *conn)
{
    struct blx_message message = {0};
    assert_int_equal(blx_conn_recv(conn, FAKE_RECV_MS, &message, NULL), 0);
    assert_int_equal(message.type, BLX_MESSAGE_CONTROL_DONE);
    return message.control_done;
}

static struct blx_control_agent receive_agent(struct blx_conn *conn)
{
    struct blx_message message = {0};
    assert_int_equal(blx_conn_recv(conn, FAKE_RECV_MS, &message, NULL), 0);
    assert_int_equal(message.type, BLX_MESSAGE_CONTROL_AGENT);
    return message.control_agent;
}

static struct blx_control_dispatcher receive_dispatcher(struct blx_conn *conn)
{
    struct blx_message message = {0};
    assert_int_equal(blx_conn_recv(conn, FAKE_RECV_MS, &message, NULL), 0);
    assert_int_equal(message.type, BLX_MESSAGE_CONTROL_DISPATCHER);
    return message.control_dispatcher;
}

/* One checkpoint of `agent` that is asked for over the socket. */
static blx_timestamp checkpoint(struct fake_site *site, struct fake_agent *agent,
                                const char *agent_id)
{
    struct blx_conn *conn = fake_site_control(site);
    send_checkpoint(conn, agent_id);
    blx_timestamp timestamp = fake_agent_checkpoint(agent);
    struct blx_control_done done = receive_done(conn);
    assert_true(done.ok);
    assert_int_equal(done.timestamp, timestamp);
    blx_conn_free(conn);
    return timestamp;
}

static void socket_is_private(void **state)
{
    struct fake_site *site = *state;
    char path[128];
    struct stat status;
    snprintf(path, sizeof(path), "%s/%s", site->data_dir, BLX_CONTROL_SOCKET_NAME);
    assert_int_equal(stat(path, &status), 0);
    assert_true(S_ISSOCK(status.st_mode));
    assert_int_equal(status.st_mode & 07777, 0600);
}

static void socket_left_behind_is_replaced_and_the_last_one_removed(void **state)
{
    struct fake_site *site = *state;
    char path[128];
    struct stat status;
    snprintf(path, sizeof(path), "%s/%s", site->data_dir, BLX_CONTROL_SOCKET_NAME);
    fake_site_halt(site);
    assert_int_equal(stat(path, &status), -1);
    FILE *left = fopen(path, "w");
    assert_non_null(left);
    fclose(left);
    fake_site_resume(site);
    struct blx_conn *conn = fake_site_control(site);
    send_checkpoint(conn, "web1");
    assert_false(receive_done(conn).ok);
    blx_conn_free(conn);
}

static void checkpoint_by_hand_answers_when_it_is_durable(void **state)
{
    struct fake_agent *agent = fake_agent_online(*state, "web1");
    fake_agent_write(agent, 0, 8, 0x11);
    blx_timestamp first = checkpoint(*state, agent, "web1");
    blx_timestamp second = checkpoint(*state, agent, "web1");
    assert_true(second > first);
    fake_agent_close(agent);
}

static void checkpoint_of_an_unknown_agent_says_so(void **state)
{
    struct blx_conn *conn = fake_site_control(*state);
    send_checkpoint(conn, "nobody");
    struct blx_control_done done = receive_done(conn);
    assert_false(done.ok);
    assert_non_null(strstr(done.text, "the agent 'nobody' is not known here"));
    blx_conn_free(conn);
}

static void checkpoint_of_an_offline_agent_says_so(void **state)
{
    struct fake_site *site = *state;
    struct fake_agent *agent = fake_agent_online(site, "web1");
    fake_agent_close(agent);
    fake_site_halt(site);
    fake_site_resume(site);
    struct blx_conn *conn = fake_site_control(site);
    send_checkpoint(conn, "web1");
    struct blx_control_done done = receive_done(conn);
    assert_false(done.ok);
    assert_non_null(strstr(done.text, "the agent 'web1' is not connected"));
    blx_conn_free(conn);
}

static void client_that_hangs_up_is_forgotten(void **state)
{
    struct fake_site *site = *state;
    struct fake_agent *agent = fake_agent_online(site, "web1");
    struct blx_conn *conn = fake_site_control(site);
    send_checkpoint(conn, "web1");
    uint64_t request =
        fake_agent_expect(agent, BLX_MESSAGE_CHECKPOINT_REQUEST).checkpoint_request.request;
    blx_conn_free(conn);
    /* The agent finishes the request that nobody waits for any more, and the next one is served. */
    fake_agent_cut(agent, request, 0);
    fake_agent_expect(agent, BLX_MESSAGE_CHECKPOINT_DONE);
    checkpoint(site, agent, "web1");
    fake_agent_close(agent);
}

static void waiting_client_hears_that_the_dispatcher_stops(void **state)
{
    struct fake_site *site = *state;
    struct fake_agent *agent = fake_agent_online(site, "web1");
    struct blx_conn *conn = fake_site_control(site);
    send_checkpoint(conn, "web1");
    fake_agent_expect(agent, BLX_MESSAGE_CHECKPOINT_REQUEST);
    dispatcher_registry_stop(&site->dispatcher.registry);
    struct blx_control_done done = receive_done(conn);
    assert_false(done.ok);
    assert_string_equal(done.text, "the dispatcher is stopping");
    blx_conn_free(conn);
    fake_agent_close(agent);
}

static void status_lists_online_and_offline_agents(void **state)
{
    struct fake_site *site = *state;
    struct fake_agent *gone = fake_agent_online(site, "web10");
    fake_agent_write(gone, 0, 8, 0x11);
    blx_timestamp timestamp = checkpoint(site, gone, "web10");
    fake_agent_close(gone);
    fake_site_halt(site);
    fake_site_resume(site);

    struct fake_agent *agent = fake_agent_online(site, "web1");
    fake_agent_write(agent, 0, 8, 0x11);
    fake_agent_wait_durable(agent, 1);
    struct blx_conn *conn = fake_site_control(site);
    const struct blx_message request = {.type = BLX_MESSAGE_CONTROL_STATUS};
    assert_int_equal(blx_conn_send(conn, &request, NULL), 0);
    struct blx_control_dispatcher self = receive_dispatcher(conn);
    assert_true(self.data_free_bytes > 0 && self.data_free_bytes <= self.data_bytes);
    assert_non_null(strstr(self.software, "blxrep-dispatcher "));
    struct blx_control_agent online = receive_agent(conn);
    assert_string_equal(online.agent_id, "web1");
    assert_non_null(strstr(online.peer, "127.0.0.1:"));
    assert_true(online.connected_ms > 0);
    assert_true(online.received_bytes > 0);
    assert_int_equal(online.volume_count, 1);
    assert_int_equal(online.last_checkpoint, 0);
    assert_int_not_equal(online.status.state, BLX_AGENT_OFFLINE);
    assert_int_equal(online.away_ms, 0);
    assert_int_equal(online.sync_freq_ms, site->book.own.sync_freq_ms);
    assert_int_equal(online.volume_bytes, FAKE_VOLUME_BYTES);
    assert_int_equal(online.total_received_bytes, online.received_bytes);
    assert_true(online.rate_bytes_per_s > 0);
    assert_int_equal(online.sessions, 1);
    struct blx_control_agent offline = receive_agent(conn);
    assert_string_equal(offline.agent_id, "web10");
    assert_string_equal(offline.peer, "");
    assert_int_equal(offline.status.state, BLX_AGENT_OFFLINE);
    assert_int_equal(offline.last_checkpoint, timestamp);
    assert_int_equal(offline.last_consistency, BLX_CONSISTENCY_FILESYSTEM);
    assert_int_equal(offline.volume_count, 1);
    assert_int_equal(offline.volume_bytes, FAKE_VOLUME_BYTES);
    assert_int_equal(offline.freeze_ns, 20 * 1000 * 1000);
    assert_true(offline.away_ms > 0);
    assert_int_equal(offline.sessions, 0);
    assert_true(receive_done(conn).ok);
    blx_conn_free(conn);
    fake_agent_close(agent);
}

static void request_that_is_none_is_refused(void **state)
{
    struct blx_conn *conn = fake_site_control(*state);
    const struct blx_message ping = {.type = BLX_MESSAGE_PING};
    assert_int_equal(blx_conn_send(conn, &ping, NULL), 0);
    struct blx_control_done done = receive_done(conn);
    assert_false(done.ok);
    assert_non_null(strstr(done.text, "PING is no request"));
    blx_conn_free(conn);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(socket_is_private),
        TEST(socket_left_behind_is_replaced_and_the_last_one_removed),
        TEST(checkpoint_by_hand_answers_when_it_is_durable),
        TEST(checkpoint_of_an_unknown_agent_says_so),
        TEST(checkpoint_of_an_offline_agent_says_so),
        TEST(client_that_hangs_up_is_forgotten),
        TEST(waiting_client_hears_that_the_dispatcher_stops),
        TEST(status_lists_online_and_offline_agents),
        TEST(request_that_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
