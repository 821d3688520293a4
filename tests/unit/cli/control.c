/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep checkpoint` and `blxrep status` against a dispatcher that gives the test's answers. */
#include "site.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "wire/conn.h"

/* Serves one client: keeps its request, sends the answers, closes the connection. */
struct fake {
    int listen_fd;
    pthread_t thread;
    struct blx_message request;
    const struct blx_message *answers;
    size_t answer_count;
};

static void *serve(void *arg)
{
    struct fake *fake = arg;
    struct blx_conn *conn = NULL;
    int fd = accept(fake->listen_fd, NULL, NULL);
    if (fd < 0 || blx_conn_new(fd, NULL, 10000, &conn, NULL) < 0)
        return NULL;
    if (blx_conn_recv(conn, 10000, &fake->request, NULL) == 0) {
        for (size_t i = 0; i < fake->answer_count; i++)
            blx_conn_send(conn, &fake->answers[i], NULL);
    }
    blx_conn_free(conn);
    return NULL;
}

static void fake_start(struct fake *fake, const char *dir, const struct blx_message *answers,
                       size_t count)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    *fake = (struct fake){.answers = answers, .answer_count = count};
    snprintf(address.sun_path, sizeof(address.sun_path), "%.80s/control.sock", dir);
    fake->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fake->listen_fd >= 0);
    assert_int_equal(bind(fake->listen_fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fake->listen_fd, 1), 0);
    assert_int_equal(pthread_create(&fake->thread, NULL, serve, fake), 0);
}

/* Leaves the socket's file, as a killed dispatcher does. */
static void fake_stop(struct fake *fake)
{
    assert_int_equal(pthread_join(fake->thread, NULL), 0);
    close(fake->listen_fd);
}

static struct blx_message done(bool ok, blx_timestamp timestamp, const char *text)
{
    struct blx_message message = {.type = BLX_MESSAGE_CONTROL_DONE};
    message.control_done.ok = ok;
    message.control_done.timestamp = timestamp;
    snprintf(message.control_done.text, sizeof(message.control_done.text), "%s", text);
    return message;
}

static void checkpoint_prints_the_timestamp(void **state)
{
    struct site *site = *state;
    struct fake fake;
    const struct blx_message answer = done(true, UINT64_C(20261122203600), "");
    fake_start(&fake, site->store.dir, &answer, 1);
    run_blxrep(&site->run, "dispatcher", "checkpoint", "--agent=web1", site->data_dir, NULL);
    fake_stop(&fake);
    run_ended(&site->run, 0, NULL);
    assert_string_equal(site->run.out, "20261122203600\n");
    assert_int_equal(fake.request.type, BLX_MESSAGE_CONTROL_CHECKPOINT);
    assert_string_equal(fake.request.control_checkpoint.agent_id, "web1");
}

static void refused_checkpoint_fails_with_the_reason(void **state)
{
    struct site *site = *state;
    struct fake fake;
    const struct blx_message answer = done(false, 0, "the agent is not connected");
    fake_start(&fake, site->store.dir, &answer, 1);
    run_blxrep(&site->run, "checkpoint", "--agent=web1", site->data_dir, NULL);
    fake_stop(&fake);
    run_ended(&site->run, 1, "'web1': the agent is not connected");
    assert_string_equal(site->run.out, "");
}

static void dispatcher_that_ends_meanwhile_fails_the_checkpoint(void **state)
{
    struct site *site = *state;
    struct fake fake;
    fake_start(&fake, site->store.dir, NULL, 0);
    run_blxrep(&site->run, "checkpoint", "--agent=web1", site->data_dir, NULL);
    fake_stop(&fake);
    run_ended(&site->run, 1, "ended before the checkpoint of 'web1'");
}

static void without_a_dispatcher_checkpoint_says_how_to_start_one(void **state)
{
    struct site *site = *state;
    struct fake fake;
    run_blxrep(&site->run, "checkpoint", "--agent=web1", site->data_dir, NULL);
    run_ended(&site->run, 1, "no dispatcher runs on");
    const struct blx_message answer = done(true, 1, "");
    fake_start(&fake, site->store.dir, &answer, 1);
    run_blxrep(&site->run, "status", site->data_dir, NULL);
    fake_stop(&fake);
    run_blxrep(&site->run, "checkpoint", "--agent=web1", site->data_dir, NULL);
    run_ended(&site->run, 1, "no dispatcher runs on");
}

/* The path is longer than the 107 bytes of a socket's path. */
static void long_data_directory_has_a_control_socket_as_well(void **state)
{
    struct site *site = *state;
    struct fake fake;
    char path[PATH_MAX], option[PATH_MAX + 16];
    test_path(&site->store, path, "%0100d", 7);
    assert_int_equal(symlink(site->store.dir, path), 0);
    snprintf(option, sizeof(option), "--data-dir=%s", path);
    const struct blx_message answer = done(true, UINT64_C(20261122203600), "");
    fake_start(&fake, site->store.dir, &answer, 1);
    run_blxrep(&site->run, "checkpoint", "--agent=web1", option, NULL);
    fake_stop(&fake);
    run_ended(&site->run, 0, NULL);
}

static struct blx_message agent_message(void)
{
    struct blx_message message = {.type = BLX_MESSAGE_CONTROL_AGENT};
    message.control_agent = (struct blx_control_agent){
        .agent_id = "web1",
        .peer = "192.0.2.7:4242",
        .status = {.state = BLX_AGENT_FULL_SYNC,
                   .dirty_bytes = 3 << 20,
                   .done_bytes = 1 << 20,
                   .total_bytes = 4 << 20,
                   .missed_events = 9,
                   .reason = "first sync"},
        .last_checkpoint = UINT64_C(20261122203600),
        .last_time = UINT64_C(20261122203600),
        .last_consistency = BLX_CONSISTENCY_CRASH,
        .connected_ms = 1234,
        .received_bytes = 5678,
        .volume_count = 2,
        .sync_freq_ms = 180000,
        .rate_bytes_per_s = 2 << 20,
        .checkpoints = {1, 2, 3},
        .failed_checkpoints = 4,
        .sessions = 5,
        .rescans = 6,
        .failure = "no room",
        .note = "vfat",
    };
    return message;
}

static struct blx_message dispatcher_message(uint64_t free_bytes)
{
    struct blx_message message = {.type = BLX_MESSAGE_CONTROL_DISPATCHER};
    message.control_dispatcher = (struct blx_control_dispatcher){
        .uptime_ms = 1, .data_bytes = 100 << 20, .data_free_bytes = free_bytes};
    return message;
}

/* A connected agent `id` whose last checkpoint is `age_s` seconds old. */
static struct blx_message agent_of_age(const char *id, int64_t age_s)
{
    struct blx_message message = {.type = BLX_MESSAGE_CONTROL_AGENT};
    message.control_agent = (struct blx_control_agent){
        .status = {.state = BLX_AGENT_LIVE},
        .last_checkpoint = blx_timestamp_from_unix(time(NULL) - age_s),
        .last_time = blx_timestamp_from_unix(time(NULL) - age_s),
        .last_consistency = BLX_CONSISTENCY_FILESYSTEM,
        .sync_freq_ms = 180000,
    };
    snprintf(message.control_agent.agent_id, sizeof(message.control_agent.agent_id), "%s", id);
    return message;
}

static void status_shows_what_the_dispatcher_tells(void **state)
{
    struct site *site = *state;
    struct fake fake;
    const struct blx_message answers[] = {agent_message(), done(true, 0, "")};
    fake_start(&fake, site->store.dir, answers, 2);
    run_blxrep(&site->run, "status", "--json", site->data_dir, NULL);
    fake_stop(&fake);
    run_ended(&site->run, 0, NULL);
    assert_int_equal(fake.request.type, BLX_MESSAGE_CONTROL_STATUS);
    static const char *const members[] = {"\"id\": \"web1\"",
                                          "\"state\": \"FULL SYNC\"",
                                          "\"peer\": \"192.0.2.7:4242\"",
                                          "\"dirty_bytes\": 3145728",
                                          "\"done_bytes\": 1048576",
                                          "\"total_bytes\": 4194304",
                                          "\"missed_events\": 9",
                                          "\"consistency\": \"crash\"",
                                          "\"reason\": \"first sync\"",
                                          "\"connected_ms\": 1234",
                                          "\"received_bytes\": 5678",
                                          "\"volumes\": 2",
                                          "\"last_checkpoint\": \"20261122203600\"",
                                          "\"protected\": false",
                                          "\"protection\": \"late\"",
                                          "\"why\": \"one is due every 3 m 0 s: no room\"",
                                          "\"checkpoints\": {",
                                          "\"none\": 1",
                                          "\"crash\": 2",
                                          "\"filesystem\": 3",
                                          "\"failed_checkpoints\": 4",
                                          "\"sessions\": 5",
                                          "\"rescans\": 6",
                                          "\"rate_bytes_per_s\": 2097152",
                                          "\"note\": \"vfat\"",
                                          "\"age\": "};
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
        assert_non_null(strstr(site->run.out, members[i]));
}

static void status_table_has_a_line_for_each_agent(void **state)
{
    struct site *site = *state;
    struct fake fake;
    const struct blx_message answers[] = {agent_message(), agent_message(), done(true, 0, "")};
    fake_start(&fake, site->store.dir, answers, 3);
    run_blxrep(&site->run, "status", site->data_dir, NULL);
    fake_stop(&fake);
    run_ended(&site->run, 0, NULL);
    assert_non_null(strstr(site->run.out, "25 % of 4.0 MiB"));
    assert_non_null(strstr(site->run.out, "2.0 MiB/s"));
    assert_non_null(strstr(site->run.out, "no room\nweb1"));
}

static void status_begins_with_whether_all_is_well(void **state)
{
    struct site *site = *state;
    struct fake fake;
    const struct blx_message well[] = {dispatcher_message(50 << 20), agent_of_age("a", 30),
                                       agent_of_age("b", 200), done(true, 0, "")};
    fake_start(&fake, site->store.dir, well, 4);
    run_blxrep(&site->run, "status", "--check", site->data_dir, NULL);
    fake_stop(&fake);
    run_ended(&site->run, 0, NULL);
    assert_int_equal(
        strncmp(site->run.out, "all 2 agents protected, the oldest checkpoint is 3 m 2", 54), 0);
    assert_non_null(strstr(site->run.out, "\ndata directory: 50.0 MiB of 100.0 MiB free, "));
    assert_null(strchr(site->run.out, '\033'));
}

static void status_puts_the_worst_first(void **state)
{
    struct site *site = *state;
    struct fake fake;
    struct blx_message answers[] = {dispatcher_message(4 << 20), agent_of_age("fine", 30),
                                    agent_of_age("late", 3600),  agent_of_age("lost", 60),
                                    agent_of_age("new", 0),      done(true, 0, "")};
    answers[3].control_agent.status.state = BLX_AGENT_OFFLINE;
    answers[3].control_agent.away_ms = 7200000;
    answers[4].control_agent.last_checkpoint = 0;
    fake_start(&fake, site->store.dir, answers, 6);
    run_blxrep(&site->run, "status", "--check", site->data_dir, NULL);
    fake_stop(&fake);
    run_ended(&site->run, 1, NULL);
    assert_int_equal(strncmp(site->run.out,
                             "3 of 4 agents NOT protected: 1 lost, 1 late, 1 syncing; "
                             "the oldest checkpoint is 1 h",
                             strlen("3 of 4 agents NOT protected: 1 lost, 1 late, 1 syncing; "
                                    "the oldest checkpoint is 1 h")),
                     0);
    const char *lost = strstr(site->run.out, "\nlost   LOST");
    const char *late = strstr(site->run.out, "\nlate   LATE");
    const char *newest = strstr(site->run.out, "\nnew    SYNCING");
    const char *fine = strstr(site->run.out, "\nfine   yes");
    assert_true(lost != NULL && late != NULL && newest != NULL && fine != NULL);
    assert_true(lost < late && late < newest && newest < fine);
    assert_non_null(strstr(site->run.out, "NEARLY FULL"));
    assert_non_null(strstr(site->run.out, "not connected for 2 h"));
}

static void status_without_a_dispatcher_answers_from_the_store(void **state)
{
    struct site *site = *state;
    char last[64];
    run_blxrep(&site->run, "status", "--json", site->data_dir, NULL);
    run_ended(&site->run, 0, "no dispatcher runs on");
    snprintf(last, sizeof(last), "\"last_checkpoint\": \"%" PRIu64 "\"", site->timestamps[2]);
    assert_non_null(strstr(site->run.out, last));
    assert_non_null(strstr(site->run.out, "\"state\": \"OFFLINE\""));
    assert_non_null(strstr(site->run.out, "\"consistency\": \"filesystem\""));
    assert_non_null(strstr(site->run.out, "\"dirty_bytes\": null"));
    run_blxrep(&site->run, "status", site->data_dir, NULL);
    run_ended(&site->run, 0, "no dispatcher runs on");
    assert_non_null(strstr(site->run.out, "\nweb1   LOST       OFFLINE"));
    assert_non_null(strstr(site->run.out, "NOTHING is being protected, no dispatcher runs"));
    assert_null(strstr(site->run.out, " \n"));
    run_blxrep(&site->run, "status", "--check", site->data_dir, NULL);
    run_ended(&site->run, 3, "no dispatcher runs on");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, site_setup, site_teardown)
        TEST(checkpoint_prints_the_timestamp),
        TEST(refused_checkpoint_fails_with_the_reason),
        TEST(dispatcher_that_ends_meanwhile_fails_the_checkpoint),
        TEST(without_a_dispatcher_checkpoint_says_how_to_start_one),
        TEST(long_data_directory_has_a_control_socket_as_well),
        TEST(status_shows_what_the_dispatcher_tells),
        TEST(status_table_has_a_line_for_each_agent),
        TEST(status_begins_with_whether_all_is_well),
        TEST(status_puts_the_worst_first),
        TEST(status_without_a_dispatcher_answers_from_the_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
