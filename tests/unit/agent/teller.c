/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent answers over the socket in its run-dir, and that nobody holds it up. */
#include "agent/teller.h"

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/cond.h"
#include "wire/control_socket.h"

enum { PATIENCE_MS = 10 * 1000 };

struct fixture {
    struct blx_config config;
    char dir[32];
    struct agent agent;
    struct agent_teller *teller;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    strcpy(fixture->dir, "/tmp/blxrep-teller-XXXXXX");
    assert_non_null(mkdtemp(fixture->dir));
    fixture->config = (struct blx_config){
        .id = "web1", .dispatcher_addr = "backup:8080", .run_dir = fixture->dir};
    fixture->agent.config = &fixture->config;
    pthread_mutex_init(&fixture->agent.lock, NULL);
    assert_int_equal(blx_cond_init(&fixture->agent.changed), 0);
    agent_self_begin(&fixture->agent);
    fixture->teller = agent_teller_start(&fixture->agent);
    assert_non_null(fixture->teller);
    *state = fixture;
    return 0;
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    agent_teller_stop(fixture->teller);
    assert_int_equal(nftw(fixture->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
    free(fixture);
    return 0;
}

static struct blx_conn *connect_to(const struct fixture *fixture)
{
    struct blx_conn *conn = NULL;
    struct blx_error err = {0};
    if (blx_control_socket_connect(fixture->dir, PATIENCE_MS, &conn, &err) < 0)
        fail_msg("%s", err.message);
    return conn;
}

struct answer {
    struct blx_control_self self;
    struct blx_control_agent agent;
    struct blx_control_disk disks[AGENT_SELF_DISKS];
    size_t disk_count;
};

static void ask(const struct fixture *fixture, struct answer *answer)
{
    struct blx_message message = {.type = BLX_MESSAGE_CONTROL_STATUS};
    struct blx_conn *conn = connect_to(fixture);
    *answer = (struct answer){.disk_count = 0};
    assert_int_equal(blx_conn_send(conn, &message, NULL), 0);
    while (message.type != BLX_MESSAGE_CONTROL_DONE) {
        assert_int_equal(blx_conn_recv(conn, PATIENCE_MS, &message, NULL), 0);
        if (message.type == BLX_MESSAGE_CONTROL_SELF)
            answer->self = message.control_self;
        else if (message.type == BLX_MESSAGE_CONTROL_AGENT)
            answer->agent = message.control_agent;
        else if (message.type == BLX_MESSAGE_CONTROL_DISK)
            answer->disks[answer->disk_count++] = message.control_disk;
    }
    assert_true(message.control_done.ok);
    blx_conn_free(conn);
}

static void commit(struct agent *agent, blx_timestamp timestamp, enum blx_consistency consistency)
{
    const struct blx_checkpoint_message cut = {
        .consistency = consistency, .freeze_ns = 41000000, .note = "a note"};
    pthread_mutex_lock(&agent->lock);
    agent_self_note_cut_locked(agent, &cut, 4096);
    agent_self_note_commit_locked(agent, timestamp);
    pthread_mutex_unlock(&agent->lock);
}

static void agent_tells_of_its_session_and_its_last_commit(void **state)
{
    struct fixture *fixture = *state;
    struct agent *agent = &fixture->agent;
    struct answer answer;
    ask(fixture, &answer);
    assert_string_equal(answer.agent.agent_id, "web1");
    assert_string_equal(answer.self.dispatcher_addr, "backup:8080");
    assert_int_equal(answer.agent.status.state, BLX_AGENT_OFFLINE);
    assert_int_equal(answer.agent.last_checkpoint, 0);
    assert_string_equal(answer.self.refusal, "");

    agent_self_note_session(
        agent, &(struct blx_welcome){.sync_freq_ms = 60000, .last_checkpoint = 20261122203600});
    ask(fixture, &answer);
    assert_int_equal(answer.agent.status.state, BLX_AGENT_LIVE);
    assert_int_equal(answer.agent.sync_freq_ms, 60000);
    assert_int_equal(answer.agent.last_checkpoint, 20261122203600);
    assert_false(answer.self.knows_checkpoint);

    commit(agent, 20261122203700, BLX_CONSISTENCY_CRASH);
    ask(fixture, &answer);
    assert_true(answer.self.knows_checkpoint);
    assert_int_equal(answer.agent.last_checkpoint, 20261122203700);
    assert_int_equal(answer.agent.last_consistency, BLX_CONSISTENCY_CRASH);
    assert_int_equal(answer.agent.last_unreadable_bytes, 4096);
    assert_int_equal(answer.agent.freeze_ns, 41000000);
    assert_string_equal(answer.agent.note, "a note");

    /* The same checkpoint in the next session is still known. */
    agent_self_note_session(agent, &(struct blx_welcome){.last_checkpoint = 20261122203700});
    ask(fixture, &answer);
    assert_true(answer.self.knows_checkpoint);
    assert_int_equal(answer.agent.last_consistency, BLX_CONSISTENCY_CRASH);
}

static void refusal_stays_and_its_reason_is_why_the_agent_is_away(void **state)
{
    struct fixture *fixture = *state;
    struct agent *agent = &fixture->agent;
    struct answer answer;
    struct blx_error refusal = {0};
    blx_error_set(&refusal, -ECONNABORTED, "the dispatcher ended the session: it is full");
    agent_self_note_end(agent, -ECONNABORTED, &refusal);
    ask(fixture, &answer);
    assert_string_equal(answer.self.refusal, "the dispatcher ended the session: it is full");
    assert_string_equal(answer.agent.failure, "the dispatcher ended the session: it is full");
    agent_self_note_session(agent, &(struct blx_welcome){.sync_freq_ms = 60000});
    ask(fixture, &answer);
    assert_string_equal(answer.self.refusal, "the dispatcher ended the session: it is full");
    assert_string_equal(answer.agent.failure, "");
    /* An orderly end is none. */
    agent_self_note_end(agent, -ERESTART, &(struct blx_error){.message = "other disks"});
    ask(fixture, &answer);
    assert_int_equal(answer.agent.status.state, BLX_AGENT_OFFLINE);
    assert_string_equal(answer.self.refusal, "the dispatcher ended the session: it is full");
}

static void every_disk_is_told_and_so_is_each_that_is_left_out(void **state)
{
    struct fixture *fixture = *state;
    struct agent *agent = &fixture->agent;
    struct answer answer;
    struct blx_control_disk disks[BLX_MAX_VOLUMES] = {{.state = BLX_DISK_PROTECTED,
                                                       .path = "/dev/vda",
                                                       .size_bytes = 1 << 20,
                                                       .dirty_bytes = 8192}};
    agent->volume_count = 1;
    agent_refusals_add(&agent->refusals, "/dev/vdb", 4096, "'/dev/vdb' is not there");
    agent->disks.excluded_count = 1;
    strcpy(agent->disks.excluded[0].path, "/dev/vdc");
    agent_self_note_status(
        agent, &(struct blx_status){.state = BLX_AGENT_LIVE, .dirty_bytes = 8192}, disks);
    ask(fixture, &answer);
    assert_int_equal(answer.disk_count, 3);
    assert_int_equal(answer.agent.volume_count, 1);
    assert_int_equal(answer.agent.volume_bytes, 1 << 20);
    assert_int_equal(answer.agent.status.dirty_bytes, 8192);
    assert_string_equal(answer.disks[0].path, "/dev/vda");
    assert_int_equal(answer.disks[0].dirty_bytes, 8192);
    assert_int_equal(answer.disks[1].state, BLX_DISK_REFUSED);
    assert_string_equal(answer.disks[1].text, "'/dev/vdb' is not there");
    assert_int_equal(answer.disks[2].state, BLX_DISK_EXCLUDED);
    assert_string_equal(answer.disks[2].path, "/dev/vdc");
}

static void pause_is_told_since_it_began(void **state)
{
    struct fixture *fixture = *state;
    struct agent *agent = &fixture->agent;
    struct answer answer;
    const struct blx_policy_message paused = {.sync_freq_ms = 30000, .paused = true};
    const struct blx_policy_message resumed = {.sync_freq_ms = 30000};
    pthread_mutex_lock(&agent->lock);
    agent_take_policy_locked(agent, &paused, AGENT_POLICY_FIRST);
    pthread_mutex_unlock(&agent->lock);
    ask(fixture, &answer);
    assert_int_equal(answer.agent.sync_freq_ms, 30000);
    assert_int_not_equal(answer.agent.paused_since, 0);
    pthread_mutex_lock(&agent->lock);
    agent_take_policy_locked(agent, &resumed, AGENT_POLICY_LATER);
    pthread_mutex_unlock(&agent->lock);
    ask(fixture, &answer);
    assert_int_equal(answer.agent.paused_since, 0);
}

static void socket_is_roots_alone(void **state)
{
    struct fixture *fixture = *state;
    char path[64];
    struct stat st;
    snprintf(path, sizeof(path), "%s/%s", fixture->dir, BLX_CONTROL_SOCKET_NAME);
    assert_int_equal(stat(path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_uid, geteuid());
}

static void socket_left_by_a_killed_agent_is_replaced(void **state)
{
    struct fixture *fixture = *state;
    char path[64];
    struct answer answer;
    agent_teller_stop(fixture->teller);
    fixture->teller = NULL;
    snprintf(path, sizeof(path), "%s/%s", fixture->dir, BLX_CONTROL_SOCKET_NAME);
    assert_int_equal(access(path, F_OK), -1);
    struct blx_control_socket left;
    assert_int_equal(blx_control_socket_open(fixture->dir, &left, NULL), 0);
    close(left.listen_fd); /* as a kill does: the name stays */
    close(left.dir_fd);
    fixture->teller = agent_teller_start(&fixture->agent);
    assert_non_null(fixture->teller);
    ask(fixture, &answer);
}

static void second_agent_of_a_folder_leaves_the_socket_to_the_first(void **state)
{
    struct fixture *fixture = *state;
    struct answer answer;
    assert_null(agent_teller_start(&fixture->agent));
    ask(fixture, &answer);
}

static void other_requests_are_refused(void **state)
{
    struct fixture *fixture = *state;
    struct blx_message message = {.type = BLX_MESSAGE_CONTROL_DONE};
    struct blx_conn *conn = connect_to(fixture);
    /* It has a body, which no question of an agent has. */
    assert_int_equal(blx_conn_send(conn, &message, NULL), 0);
    assert_true(blx_conn_recv(conn, PATIENCE_MS, &message, NULL) < 0);
    blx_conn_free(conn);
    conn = connect_to(fixture);
    message = (struct blx_message){.type = BLX_MESSAGE_PING};
    assert_int_equal(blx_conn_send(conn, &message, NULL), 0);
    assert_int_equal(blx_conn_recv(conn, PATIENCE_MS, &message, NULL), 0);
    assert_int_equal(message.type, BLX_MESSAGE_CONTROL_DONE);
    assert_false(message.control_done.ok);
    blx_conn_free(conn);
}

/* One asks and never reads, one never asks: the agent notes what it has to, and the next client is
 * answered. */
static void client_that_does_not_read_holds_up_nobody(void **state)
{
    struct fixture *fixture = *state;
    struct agent *agent = &fixture->agent;
    struct blx_message message = {.type = BLX_MESSAGE_CONTROL_STATUS};
    struct answer answer;
    struct blx_conn *mute = connect_to(fixture);
    struct blx_conn *deaf = connect_to(fixture);
    assert_int_equal(blx_conn_send(deaf, &message, NULL), 0);
    commit(agent, 20261122203700, BLX_CONSISTENCY_FILESYSTEM);
    ask(fixture, &answer);
    assert_int_equal(answer.agent.last_checkpoint, 20261122203700);
    blx_conn_free(mute);
    blx_conn_free(deaf);
}

static void stop_waits_for_no_client(void **state)
{
    struct fixture *fixture = *state;
    struct blx_conn *mute = connect_to(fixture);
    agent_teller_stop(fixture->teller);
    fixture->teller = NULL;
    struct blx_message message;
    int rc = blx_conn_recv(mute, PATIENCE_MS, &message, NULL);
    assert_true(rc == -EPIPE || rc == -ECONNRESET); /* the second one if nobody had accepted it */
    blx_conn_free(mute);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(agent_tells_of_its_session_and_its_last_commit),
        TEST(refusal_stays_and_its_reason_is_why_the_agent_is_away),
        TEST(every_disk_is_told_and_so_is_each_that_is_left_out),
        TEST(pause_is_told_since_it_began),
        TEST(socket_is_roots_alone),
        TEST(socket_left_by_a_killed_agent_is_replaced),
        TEST(second_agent_of_a_folder_leaves_the_socket_to_the_first),
        TEST(other_requests_are_refused),
        TEST(client_that_does_not_read_holds_up_nobody),
        TEST(stop_waits_for_no_client),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
